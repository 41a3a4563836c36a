/** A rollout as lines for a terminal. Pure. */
import type { KernelShown, RolloutSummary, RolloutView } from '#contracts/rollout.ts';
import { paint, table } from './output.ts';

const barCells = 30;
/** Device states as one letter of the bar, in its order. */
const letters: readonly (readonly [string, readonly string[]])[] = [
  ['█', ['confirmed']],
  ['▒', ['commanded', 'applied']],
  ['◄', ['reverting', 'reverted']],
  ['×', ['refused', 'drifted', 'lost']],
  ['-', ['away', 'gone']],
];

/** How a wave stands as a bar: done, under way, back, failed, away; blank: its turn has not come. */
export const barOf = ({ size, states }: RolloutSummary['waves'][number]): string => {
  const bar = letters
    .map(([letter, names]) => {
      const devices = names.reduce((sum, name) => sum + (states[name] ?? 0), 0);
      return letter.repeat(devices === 0 ? 0 : Math.max(1, Math.round((devices / size) * barCells)));
    })
    .join('');
  return bar.slice(0, barCells).padEnd(barCells);
};

const countsOf = (states: Readonly<Record<string, number>>): string =>
  Object.entries(states)
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([state, devices]) => `${devices} ${state}`)
    .join(', ');

/** `[` and `]` around the present wave. */
const waveLine = (view: RolloutSummary, wave: RolloutSummary['waves'][number], at: number): string[] => [
  `  ${at === view.wave && view.endedAt === undefined ? '▶' : ' '} wave ${at + 1}`,
  `${wave.size} devices`,
  `[${barOf(wave)}]`,
  countsOf(wave.states),
];

const colourOf = (phase: RolloutSummary['phase']): 'ok' | 'lacking' | 'note' => {
  if (phase === 'done') return 'ok';
  return phase === 'halted' || phase === 'rolling-back' || phase === 'rolled-back' || phase === 'refused'
    ? 'lacking'
    : 'note';
};

const troubled: ReadonlySet<string> = new Set(['refused', 'drifted', 'lost', 'away', 'reverting']);
const devicesShownMax = 12;

/** The whole of it: what changes, each wave, what it waits for, devices in trouble. */
export const linesOf = (view: RolloutView): string[] => {
  const inTrouble = view.devices.filter(({ state }) => troubled.has(state));
  return [
    `${paint('bold', view.rolloutId)}  ${paint(colourOf(view.phase), view.phase)}${view.paused ? ' (paused)' : ''}  policy ${view.policy.name} version ${view.policy.version}, by ${view.createdBy}, ${view.createdAt}`,
    ...view.transitions.flatMap(({ kind, id, from, to, diff }) => [
      `  ${kind}/${id}  ${from === null ? 'none' : `version ${from.version}`} → ${to === null ? 'none' : `version ${to.version}`}`,
      ...diff.map((line) => `    ${line}`),
    ]),
    table(view.waves.map((wave, at) => waveLine(view, wave, at))),
    ...(view.failure === undefined
      ? []
      : [`  ${paint('lacking', view.failure.kind)} at ${view.failure.at}: ${view.failure.detail}`]),
    ...(view.waitsFor === undefined ? [] : [`  waits for ${view.waitsFor}`]),
    ...inTrouble
      .slice(0, devicesShownMax)
      .map(({ deviceId, state, detail = '' }) => `  ${deviceId}  ${state}  ${detail}`.trimEnd()),
    ...(inTrouble.length > devicesShownMax
      ? [`  … and ${inTrouble.length - devicesShownMax} more: pando rollout show --json`]
      : []),
  ];
};

/** `card/a card/b … (12 in all)`. */
const namesOf = (names: readonly string[], count: number): string =>
  `${names.join(' ')}${count > names.length ? ` … (${count} in all)` : ''}`;

/** What would change in the kernels of devices: what goes and what comes, the same difference once. */
export const kernelLines = (shown: KernelShown): string[] => [
  ...shown.differences.flatMap(({ devices, deviceCount, vpcIds, namespaces, lines, more }) => [
    `  ${namesOf(devices, deviceCount)}, ${vpcIds.length === 0 ? 'own namespace' : `in ${namesOf(vpcIds, namespaces)}`}:`,
    ...lines.map((line) => `    ${paint(line.startsWith('-') ? 'lacking' : 'ok', line)}`),
    ...(more > 0 ? [`    … and ${more} lines more`] : []),
  ]),
  ...(shown.more > 0 ? [`  … and ${shown.more} differences more: --device shows one device's`] : []),
  ...(shown.unchanged > 0 ? [`  no change in the kernel of ${shown.unchanged} devices`] : []),
  ...shown.unsaid.map(
    ({ why, devices, deviceCount }) => `  ${paint('note', namesOf(devices, deviceCount))}: ${why}`,
  ),
  ...(shown.notAsked > 0 ? [`  ${shown.notAsked} devices more were not asked`] : []),
];

/** One line of a list. */
export const rowOf = (summary: RolloutSummary): string[] => [
  summary.rolloutId,
  `${summary.phase}${summary.paused ? ' (paused)' : ''}`,
  `${summary.wave + 1}/${summary.waves.length}`,
  `${summary.policy.name} v${summary.policy.version}`,
  summary.objects.join(' '),
  summary.createdAt,
  summary.failure === undefined ? '' : `${summary.failure.kind}: ${summary.failure.detail}`.slice(0, 80),
];

export const ended: ReadonlySet<string> = new Set(['done', 'rolled-back', 'refused']);
