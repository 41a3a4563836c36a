/** `pando rollout …`: changes in waves. */
import { setTimeout as delay } from 'node:timers/promises';
import type { Result } from '#base/rpc/contract.ts';
import { type FleetBody, fleetBody, fleetId } from '#contracts/network-objects.ts';
import type { RolloutAction, RolloutView, rolloutContract } from '#contracts/rollout.ts';
import type { ChangeClass } from '#contracts/rollout-policy.ts';
import { paint, print, progress, table, UserError } from '../output.ts';
import { openRegion } from '../region.ts';
import { type RegionCaller, withRegion } from '../regionOperator.ts';
import { ended, kernelLines, linesOf, rowOf } from '../rolloutView.ts';
import { readJson } from './policy.ts';

interface Directory {
  readonly dir: string;
}
type Json = Directory & { readonly json: boolean };

export interface StartOptions extends Json {
  readonly policy?: string;
  readonly policyVersion?: number;
  readonly class: ChangeClass;
  readonly set?: readonly string[];
  readonly file?: string;
  readonly from?: number;
  readonly token?: string;
  readonly dryRun: boolean;
  readonly watch: boolean;
}

/** `pando rollout start`. */
export async function startRollout(options: StartOptions): Promise<void> {
  await withRegion(openRegion(options), async (region) => {
    const body = await bodyOf(region, options);
    const policy = options.policy && {
      name: options.policy,
      ...(options.policyVersion !== undefined && { version: options.policyVersion }),
    };
    const started = await region.call('operator.startRollout', {
      ...(policy && { policy }),
      ...{ class: options.class, dryRun: options.dryRun },
      ...(options.token !== undefined && { clientToken: options.token }),
      objects: [
        { kind: 'fleet', id: fleetId, body, ...(options.from !== undefined && { from: options.from }) },
      ],
    });
    if (options.json) return print(JSON.stringify(started, null, 2));
    for (const line of startedLines(started)) print(line);
    if (started.rolloutId === undefined) return;
    if (options.watch) return follow(region, started.rolloutId);
    print(`pando rollout watch ${started.rolloutId} follows it; pause, resume and abort are there for it.`);
  });
}

/** The whole body: a file's, or what devices should have now with some members set. `name=` takes a member away. */
const bodyOf = async (region: RegionCaller, { set = [], file, from }: StartOptions): Promise<unknown> => {
  if (file !== undefined && set.length > 0) throw new UserError('Say --file or --set, not both.');
  if (file !== undefined) return readJson(file);
  if (set.length === 0)
    throw new UserError('Say what changes: --set mtu=1400, or --file FILE with the whole of it.');
  const { versions } = await region.call('operator.objectVersions', { kind: 'fleet', id: fleetId });
  const base =
    from === undefined
      ? versions.toSorted((a, b) => b.devices - a.devices)[0]
      : versions.find(({ version }) => version === from);
  return withSet(fleetBody.parse(base?.body ?? {}), set);
};

/** @throws UserError for what is no `name=value` of a member that there is */
export const withSet = (body: FleetBody, set: readonly string[]): Record<string, unknown> => {
  const changed: Record<string, unknown> = { ...body };
  for (const each of set) {
    const at = each.indexOf('=');
    const name = each.slice(0, at);
    if (at < 1 || !(name in fleetBody.shape))
      throw new UserError(
        `${each}: a member is one of ${Object.keys(fleetBody.shape).join(' ')}, as name=value.`,
      );
    const value = each.slice(at + 1);
    if (value === '') delete changed[name];
    else changed[name] = isText(name, value) ? value : parsed(value);
  }
  return changed;
};

/** A version may be digits alone, and is no number for that. */
const isText = (name: string, value: string): boolean =>
  !fleetBody.safeParse({ [name]: parsed(value) }).success && fleetBody.safeParse({ [name]: value }).success;

const parsed = (value: string): unknown => {
  try {
    return JSON.parse(value);
  } catch {
    return value;
  }
};

const startedLines = ({
  rolloutId,
  policy,
  waves,
  transitions,
  kernel,
}: Result<typeof rolloutContract, 'operator.startRollout'>): string[] => [
  `${rolloutId === undefined ? 'would be done' : paint('bold', rolloutId)}  policy ${policy.name} version ${policy.version}`,
  ...transitions.flatMap(({ kind, id, from, to, diff }) => [
    `  ${kind}/${id}  ${from === null ? 'none' : `version ${from.version}`} → ${to === null ? 'none' : `version ${to.version}`}`,
    ...diff.map((line) => `    ${line}`),
  ]),
  ...waves.map(
    (wave, at) =>
      `  wave ${at + 1}: ${wave.length} devices: ${wave.slice(0, 4).join(' ')}${wave.length > 4 ? ' …' : ''}`,
  ),
  ...(kernel === undefined ? [] : kernelLines(kernel)),
];

/** `pando rollout diff`. */
export async function showDiff(
  rolloutId: string,
  options: Json & { readonly device?: string },
): Promise<void> {
  await withRegion(openRegion(options), async (region) => {
    const shown = await region.call('operator.rolloutDiff', {
      rolloutId,
      ...(options.device !== undefined && { deviceId: options.device }),
    });
    print(options.json ? JSON.stringify(shown, null, 2) : kernelLines(shown).join('\n'));
  });
}

export async function listRollouts(
  options: Json & { readonly all: boolean; readonly limit: number },
): Promise<void> {
  await withRegion(openRegion(options), async (region) => {
    const { rollouts } = await region.call('operator.rollouts', { ended: options.all, limit: options.limit });
    if (options.json) return print(JSON.stringify({ rollouts }, null, 2));
    if (rollouts.length === 0)
      return print(
        options.all
          ? 'There was no rollout yet.'
          : 'No rollout is under way. --all shows those that have ended.',
      );
    print(table([['ROLLOUT', 'PHASE', 'WAVE', 'POLICY', 'OBJECTS', 'BEGUN', 'WHY'], ...rollouts.map(rowOf)]));
  });
}

export async function showRollout(rolloutId: string, options: Json): Promise<void> {
  await withRegion(openRegion(options), async (region) => {
    const view = await region.call('operator.rollout', { rolloutId });
    print(options.json ? JSON.stringify(view, null, 2) : linesOf(view).join('\n'));
  });
}

export async function showAudit(rolloutId: string, options: Json): Promise<void> {
  await withRegion(openRegion(options), async (region) => {
    for (let after = 0; ; ) {
      const { records } = await region.call('operator.rolloutAudit', { rolloutId, after });
      for (const record of records)
        print(
          options.json
            ? JSON.stringify(record)
            : [
                record.at,
                record.who,
                record.deviceId ?? '-',
                `${record.what} ${record.from} → ${record.to}`,
                record.objects ?? '',
                record.detail ?? '',
              ]
                .join('  ')
                .trimEnd(),
        );
      const last = records.at(-1);
      if (last === undefined) return;
      after = last.auditId;
    }
  });
}

export async function watchRollout(rolloutId: string, options: Directory): Promise<void> {
  await withRegion(openRegion(options), (region) => follow(region, rolloutId));
}

const lookEveryMs = 500;

/** Until it has ended: drawn anew on a terminal, a line for each change elsewhere. Exits with 1 unless it is done. */
const follow = async (region: RegionCaller, rolloutId: string): Promise<void> => {
  let drawn = 0;
  let before = '';
  for (;;) {
    const view = await region.call('operator.rollout', { rolloutId });
    const lines = linesOf(view);
    if (process.stdout.isTTY) drawn = draw(lines, drawn);
    else if (before !== changeOf(view)) print(changeOf(view));
    before = changeOf(view);
    if (ended.has(view.phase)) {
      if (view.phase !== 'done') process.exitCode = 1;
      return;
    }
    await delay(lookEveryMs);
  }
};

const draw = (lines: readonly string[], drawn: number): number => {
  if (drawn > 0) process.stdout.write(`\u001b[${drawn}A\u001b[J`);
  print(lines.join('\n'));
  return lines.join('\n').split('\n').length;
};

const changeOf = ({ phase, wave, waves, failure, waitsFor }: RolloutView): string =>
  [
    `${phase}, wave ${wave + 1} of ${waves.length}: ${Object.entries(waves[wave]?.states ?? {})
      .map(([state, devices]) => `${devices} ${state}`)
      .join(', ')}`,
    ...(failure === undefined ? [] : [`${failure.kind}: ${failure.detail}`]),
    ...(waitsFor === undefined ? [] : [`waits for ${waitsFor}`]),
  ].join('; ');

export async function controlRollout(
  rolloutId: string,
  action: RolloutAction,
  options: Directory,
): Promise<void> {
  await withRegion(openRegion(options), async (region) => {
    const { phase } = await region.call('operator.controlRollout', { rolloutId, action });
    print(`${rolloutId}: ${action}. It is ${phase} now.`);
    if (action === 'abort') progress(`pando rollout watch ${rolloutId} follows it on its way back.`);
  });
}
