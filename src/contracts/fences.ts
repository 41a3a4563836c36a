/**
 * Which commands about an instance a host still obeys. The rule of every host, real and simulated.
 *
 * An instance's generation is a number in its cell's store. It grows with each change of its life (launch, start, stop, terminate,
 * migrate, a reconciler's own command), in the transaction that begins the change. So of two commands the one with the higher
 * generation was decided later, whichever arrives first. A host remembers for each instance the highest generation it has heard,
 * the workflow that has it, and that workflow's epoch (its number of owners so far). A command is
 *
 *   lower generation                               refused: a former owner, whose workflow has ended
 *   higher generation                              obeyed: it takes the instance on this host
 *   same generation, same workflow, lower epoch    refused: another processor has taken the workflow over
 *   same generation, same workflow                 obeyed
 *   same generation, another workflow              refused: a generation belongs to one workflow, the first that is heard
 *   same generation, no workflow heard yet         obeyed: it takes the instance
 *   no generation (a cell of the last release)     judged by the epoch of its workflow alone
 *
 * Refused means StaleEpoch, and no effect at all. A reboot changes no life: it carries the generation that it was asked under, is
 * refused under a lower one, and takes nothing.
 *
 * What a host has heard outlives the VM (a tombstone), because a command that was sent while the VM lived may arrive when it is gone.
 * A tombstone may go when nobody can send such a command any more. A processor sends none once its lease has lapsed for
 * `commandAfterLapseMsMax`, and a stream that its processor left silent is closed by the host: so after `tombstoneKeptMs` it may.
 */
import { z } from 'zod';
import { PandoError } from './errors.ts';
import type { CommandKey } from './host.ts';

/** A processor whose lease lapsed this long ago commands nothing, until it has renewed it and looked at the store again. */
export const commandAfterLapseMsMax = 10 * 60_000;
/** How long a host remembers an instance that it does not have. Far above the time after which nobody sends; clocks may step. */
export const tombstoneKeptMs = 6 * 60 * 60_000;

export const instanceFence = z.object({
  generation: z.number().int(),
  /** Whose generation it is on this host; absent: only commands that take nothing have been heard. */
  workflowId: z.string().optional(),
  /** The newest owner of that workflow that has commanded. */
  epoch: z.number().int().optional(),
});
export type InstanceFence = z.infer<typeof instanceFence>;

/**
 * What the host has heard of the instance once this command is obeyed: `known` itself where that says nothing new.
 * `visits`: the command takes nothing (reboot).
 * @throws StaleEpoch where the command is refused
 */
export const passFence = (
  known: InstanceFence | undefined,
  key: CommandKey,
  visits = false,
): InstanceFence | undefined => {
  const { generation, workflowId, epoch } = key;
  if (generation === undefined) return known;
  const taken = visits ? { generation } : { generation, workflowId, epoch };
  if (known === undefined || generation > known.generation) return taken;
  if (generation < known.generation)
    throw refused(key, `the instance is at generation ${known.generation} here`);
  if (known.workflowId === undefined) return visits ? known : taken;
  if (known.workflowId !== workflowId) {
    if (visits) return known;
    throw refused(key, `generation ${generation} is ${known.workflowId}'s here`);
  }
  if (epoch < (known.epoch ?? 0)) throw refused(key, `its workflow is at epoch ${known.epoch} here`);
  return epoch === known.epoch ? known : taken;
};

const refused = ({ workflowId, generation, epoch }: CommandKey, why: string): PandoError =>
  new PandoError(
    'StaleEpoch',
    `${workflowId} (generation ${generation}, epoch ${epoch}) commands no more: ${why}.`,
  );

/** The newer of two fences: what was heard of one instance in two places. */
export const newerFence = (
  one: InstanceFence | undefined,
  other: InstanceFence | undefined,
): InstanceFence | undefined => {
  if (one === undefined || other === undefined) return one ?? other;
  if (one.generation !== other.generation) return one.generation > other.generation ? one : other;
  return (one.epoch ?? 0) >= (other.epoch ?? 0) ? one : other;
};
