/** `pando vm …`: VMs as hosts have them; those in quarantine are adopted or removed here, and nowhere else. */
import { PandoError } from '#contracts/errors.ts';
import type { RunRecord } from '#lab/runRecord.ts';
import { type CellCaller, hostIdOf, hostNameOf, instanceOf, planOf, withCell } from '../operator.ts';
import { print, table, UserError } from '../output.ts';
import { openRun } from '../region.ts';

const answerTimeoutMs = 5_000;
/** A VMM is ended and its disk deleted. */
const removalTimeoutMs = 60_000;

export interface QuarantinedVm {
  readonly cell: string;
  readonly instanceId: string;
  readonly host: string;
  readonly reason: string;
  readonly state: string;
  readonly firstSeen: string;
}

const reasons: Readonly<Record<string, string>> = {
  'no-row': 'no record of it',
  'other-cell': 'an instance of another cell',
  elsewhere: 'its record names another host',
  newer: 'its host knows of a later change than its record',
};

export const quarantineTable = (vms: readonly QuarantinedVm[]): string =>
  table(
    vms.map((vm) => [
      `  ✘ ${vm.instanceId}`,
      vm.state,
      vm.host,
      reasons[vm.reason] ?? vm.reason,
      `since ${vm.firstSeen.slice(0, 19).replace('T', ' ')}`,
    ]),
  );

/** A cell's VMs in quarantine; none from a processor of the last release, which knows of no quarantine. */
export async function quarantinedOf(
  run: RunRecord,
  cellName: string,
  cell: CellCaller,
): Promise<QuarantinedVm[]> {
  const { vms } = await cell
    .call('operator.quarantined', {}, { timeoutMs: answerTimeoutMs })
    .catch((error: unknown) => {
      if (PandoError.from(error).code === 'UnsupportedOperation') return { vms: [] };
      throw error;
    });
  return vms.map(({ instanceId, hostId, reason, state, firstSeen }) => ({
    ...{ cell: cellName, instanceId, host: hostNameOf(run, hostId), reason, state, firstSeen },
  }));
}

/** `pando vm list`. */
export async function listVms(options: { dir: string; quarantined: boolean; json: boolean }): Promise<void> {
  const region = openRun(options);
  const { run } = region;
  const lists = await Promise.all(
    planOf(run).cells.map(({ name, number }) =>
      withCell(region, number, async (cell) => {
        const { instances } = options.quarantined
          ? { instances: [] }
          : await cell.call('operator.instances', {});
        return { instances, quarantined: await quarantinedOf(run, name, cell) };
      }),
    ),
  );
  const quarantined = lists.flatMap((list) => list.quarantined);
  const instances = lists.flatMap((list) => list.instances);
  if (options.json) return print(JSON.stringify({ instances, quarantined }, null, 2));
  const host = (id: string | undefined): string => (id === undefined ? '' : hostNameOf(run, id));
  if (instances.length > 0)
    print(
      table(
        instances.map((each) => [`  ${each.instanceId}`, each.state, host(each.hostId), each.instanceType]),
      ),
    );
  if (quarantined.length > 0) print(quarantineTable(quarantined));
  else if (options.quarantined) print('No VM is in quarantine: every one has its record.');
}

/** `pando vm adopt INSTANCE`. */
export async function adoptVm(instanceId: string, options: { dir: string; host?: string }): Promise<void> {
  const region = openRun(options);
  const { run } = region;
  const { id, cell: number } = instanceOf(run, instanceId);
  await withCell(region, number, async (cell) => {
    const adopted = await cell
      .call('operator.adoptVm', { instanceId: id, hostId: chosen(run, options.host) })
      .catch((error: unknown) => {
        throw readable(error, run, id);
      });
    const { hostId, accountId, state } = adopted;
    print(`${id} is an instance of account ${accountId} again: ${state} on ${hostNameOf(run, hostId)}.`);
    print(
      'Its tags, termination protection and shutdown behaviour are not known to its host: they are at their defaults.',
    );
  });
}

/** `pando vm remove INSTANCE --yes`. */
export async function removeVm(
  instanceId: string,
  options: { dir: string; host?: string; yes: boolean },
): Promise<void> {
  const region = openRun(options);
  const { run } = region;
  const { id, cell: number } = instanceOf(run, instanceId);
  if (!options.yes)
    throw new UserError(
      `This ends ${id} and deletes its disk; nothing brings that back. If it may still be somebody’s: pando vm adopt ${id}. If you are certain: --yes`,
    );
  await withCell(region, number, async (cell) => {
    const params = { instanceId: id, hostId: chosen(run, options.host) };
    const { hostId } = await cell
      .call('operator.removeVm', params, { timeoutMs: removalTimeoutMs })
      .catch((error: unknown) => {
        throw readable(error, run, id);
      });
    print(`${id} is gone from ${hostNameOf(run, hostId)}, with its disk.`);
  });
}

const chosen = (run: RunRecord, host: string | undefined): string | undefined =>
  host === undefined ? undefined : hostIdOf(run, host);

/** A refusal in the words of the command line. */
function readable(error: unknown, run: RunRecord, instanceId: string): unknown {
  if (!(error instanceof PandoError)) return error;
  if (error.code === 'NotFound')
    return new UserError(`${instanceId} is not in quarantine. pando vm list --quarantined shows what is.`);
  const message = error.message.replace(/h-[0-9a-f]{17}/g, (hostId) => hostNameOf(run, hostId));
  return new PandoError(error.code, message, { cause: error });
}
