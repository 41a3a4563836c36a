/** The steps of a rebuild as this host carries them out. Each may be repeated, and leaves the host as the first time. */
import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { codeDigestOf } from '#base/codeDigest.ts';
import { PandoError } from '#contracts/errors.ts';
import type { CommandKey } from '#contracts/host.ts';
import { type HostWanted, layoutDigest, type StepOutcome } from '#contracts/rebuild.ts';
import type { Host } from '../host.ts';
import { memoryAvailableMib } from '../memory.ts';
import { runningWithoutDirectory } from '../recover.ts';
import { deleteTap, ourTaps } from '../tap.ts';
import { type ConditionParts, networkFaults } from './condition.ts';
import { diagnose } from './diagnostics.ts';
import type { Machine } from './machine.ts';
import type { RebuildRecord } from './record.ts';
import { scrubHost } from './scrub.ts';
import { launchAndListen, removeValidation } from './validation.ts';

export type Done = Omit<StepOutcome, 'condition'>;
export const done = (changed: boolean, detail = ''): Done => ({ ok: true, changed, detail });
export const bad = (detail: string): Done => ({ ok: false, changed: false, detail: detail.slice(0, 4_096) });

export interface StepParts {
  readonly host: Host;
  readonly record: RebuildRecord;
  readonly machine: Machine;
  /** Where the agent's code lies, and the digest of what this process runs of it. */
  readonly code: { readonly tree: string; readonly running: string };
  readonly condition: () => ConditionParts;
}

/** Anything of a tenant's that this host knows of, in whatever state; for people. @throws what the link to the card says */
export const whatIsHere = async ({ host, record }: StepParts): Promise<string[]> => {
  const { config, card } = host.context;
  const own = record.state.validating;
  const vms = host.vms.map((vm) => vm.record.instanceId).filter((id) => id !== own);
  const known = new Set(host.vms.map((vm) => vm.record.instanceId));
  const directories = (await readdir(join(config.stateDir, 'vms'))).filter((name) => !known.has(name));
  const homeless = await runningWithoutDirectory(host.context, known);
  const { ports } = await card.call('card.status', {});
  const used = new Set(host.vms.map((vm) => vm.record.network?.port.eniId));
  return [
    ...vms,
    ...directories.map((name) => `a directory ${name}`),
    ...homeless.map((name) => `a process of ${name}`),
    ...ports.filter(({ eniId }) => !used.has(eniId)).map(({ eniId }) => `${eniId} on the card`),
  ].slice(0, 16);
};

/** What an earlier try at the validation has left is the host's own: it goes. */
export const dropValidation = async ({ host, record }: StepParts, key: CommandKey): Promise<void> => {
  const { validating } = record.state;
  if (validating === undefined) return;
  await removeValidation(host, key, validating);
  await record.change({ validating: undefined });
};

export const isolate = async ({ host }: StepParts): Promise<Done> => {
  const { card } = host.context;
  const { isolated: before } = await card.rebuild('card.isolate', {});
  const { isolated } = await card.rebuild('card.isolate', { on: true });
  return isolated ? done(!before) : bad('the card says that its underlay is still open');
};

export const checkFirmware = async ({ machine }: StepParts, wanted: HostWanted): Promise<Done> => {
  const versions = await machine.firmware();
  const others = Object.entries(wanted.firmware ?? {}).filter(
    ([component, version]) => component in versions && versions[component] !== version,
  );
  if (others.length > 0)
    return bad(
      `${others.map(([component, version]) => `${component} runs ${versions[component]}, wanted is ${version}`).join('; ')}: update it, then rebuild the host`,
    );
  return done(
    false,
    Object.entries(versions)
      .map(([component, version]) => `${component} ${version}`)
      .join(', '),
  );
};

export const runDiagnostics = async (
  { host }: StepParts,
  { thorough = false }: HostWanted,
): Promise<Done> => {
  const { config, card, cgroups } = host.context;
  const { faults, tested } = await diagnose(
    config.stateDir,
    card,
    thorough,
    await memoryAvailableMib(cgroups),
  );
  return faults.length === 0 ? done(false, tested) : bad(faults.join('; '));
};

/**
 * Destroys what is left of tenants' data. It asks for the proof, of this very generation, and looks once more.
 * @throws IncorrectState without it: then nothing is touched
 */
export const scrub = async (parts: StepParts, { generation }: CommandKey): Promise<Done> => {
  const { host, record, machine } = parts;
  const { hostId } = host.context.config;
  if (generation === undefined || record.state.emptyIn !== generation)
    throw new PandoError(
      'IncorrectState',
      `${hostId} was not proved empty under generation ${generation}: nothing is scrubbed.`,
    );
  const there = await whatIsHere(parts);
  if (there.length > 0)
    throw new PandoError(
      'IncorrectState',
      `${hostId} is not empty (${there.join(', ')}): nothing is scrubbed.`,
    );
  const { changed, faults, words } = await scrubHost({
    context: host.context,
    discards: host.discards,
    machine,
  });
  return faults.length === 0 ? done(changed, words.join('; ')) : bad(faults.join('; '));
};

export const checkImage = ({ code, host }: StepParts, wanted: HostWanted): Done | 'restart' => {
  const onDisk = codeDigestOf('agent', code.tree);
  if (wanted.image !== undefined && onDisk !== wanted.image)
    return bad(
      `the code on ${host.context.config.hostId} is ${onDisk}, wanted is ${wanted.image}: upgrade it, then rebuild the host`,
    );
  return onDisk === code.running ? done(false, onDisk) : 'restart';
};

export const layOut = async ({ record, machine, host }: StepParts, { layout }: HostWanted): Promise<Done> => {
  const { bootId } = host.context;
  const digest = layoutDigest(layout);
  const before = record.state.layout;
  const pages = layout?.hugePages;
  if (pages !== undefined) {
    const got = await machine.setHugePages(pages).catch((error: unknown) => String(error));
    if (got !== pages) return bad(`${pages} huge pages were asked for, the kernel says ${got}`);
  }
  await record.change({ layout: { digest, bootId } });
  return done(before?.digest !== digest || before.bootId !== bootId);
};

/** The host is proved empty and takes no VM: a tap or a port that is nobody's has lost its VM. */
export const configureNetwork = async ({ host, record, condition }: StepParts): Promise<Done> => {
  const { config, card, fence } = host.context;
  const before = await networkFaults(condition());
  if (record.state.emptyIn !== undefined && host.vms.length === 0) {
    for (const name of await ourTaps(config.runPrefix)) await deleteTap(name);
    for (const { eniId } of (await card.call('card.status', {})).ports)
      await card.call('card.detachPort', { eniId });
  }
  await fence.renew();
  const after = await networkFaults(condition());
  return after.length === 0 ? done(before.length > 0, before.join('; ')) : bad(after.join('; '));
};

export const validate = async (parts: StepParts, key: CommandKey, wanted: HostWanted): Promise<Done> => {
  const { host, record } = parts;
  const { validation } = wanted;
  if (validation === undefined) return bad('no VM was named for the validation');
  await dropValidation(parts, key);
  await record.change({ validating: validation.instanceId });
  const outcome = await launchAndListen(host, key, validation).then(
    (heard) => (heard === undefined ? bad('its guest was not heard') : done(false, heard)),
    (error: unknown) => bad(`a VM of its own did not come up: ${PandoError.from(error).message}`),
  );
  await dropValidation(parts, key);
  return outcome;
};

export const open = async ({ host, record }: StepParts, cleared: boolean): Promise<Done> => {
  const { isolated } = await host.context.card.rebuild('card.isolate', { on: false });
  if (isolated) return bad('the card says that its underlay is still shut');
  await record.change({ emptyIn: undefined, ...(cleared ? { dirty: [] } : {}) });
  return done(true);
};
