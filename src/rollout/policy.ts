/** What is wrong with a policy by itself, without any fleet; and the policies of those who name none. */
import type { ChangeClass, HealthSpec, PolicySpec, WaveSpec } from '#contracts/rollout-policy.ts';
import { refusal } from './refuse.ts';
import { minutesOf } from './window.ts';

export const concurrencyMax = 10_000;
export const confirmMsMin = 500;

const selectors = ['devices', 'percent', 'cells', 'zones', 'canaryCell', 'rest'] as const;
export type Selector = (typeof selectors)[number];

/** The one member that says which devices a wave takes. @throws `NoDevices` when none does, `WavesOverlap` when several do. */
export const selectorOf = (wave: WaveSpec, at: number): Selector => {
  const given = selectors.filter((name) => wave[name] !== undefined);
  const [only] = given;
  if (only === undefined) throw refusal('NoDevices', `wave ${at + 1} says of no devices that they are its.`);
  if (given.length > 1)
    throw refusal('WavesOverlap', `wave ${at + 1} says ${given.join(' and ')}; it may say one of them.`);
  return only;
};

/** @throws what is wrong, by name: `InvalidParameterValue` with `details.refusal`. */
export const checkPolicy = (policy: PolicySpec): void => {
  if (policy.waves.length === 0) throw refusal('NoDevices', 'the policy has no waves.');
  policy.waves.forEach(checkWave);
  checkListedOnce(policy.waves, 'devices');
  checkListedOnce(policy.waves, 'cells');
  checkListedOnce(policy.waves, 'zones');
  checkRest(policy.waves);
  const percents = policy.waves.reduce((sum, { percent = 0 }) => sum + percent, 0);
  if (percents > 100) throw refusal('WavesOverlap', `the waves' percentages are ${percents} together.`);
  checkNumbers(policy);
  checkHealth(policy.health);
  if (policy.approval?.by.length === 0)
    throw refusal('NotAnApprover', 'an approval is asked for, and nobody may give it.');
  if (policy.window !== undefined) for (const time of [policy.window.from, policy.window.to]) minutesOf(time);
};

const checkWave = (wave: WaveSpec, at: number): void => {
  const selector = selectorOf(wave, at);
  const { percent = 1 } = wave;
  if (!(percent > 0)) throw refusal('PercentageOfZero', `wave ${at + 1} takes ${percent} percent.`);
  if (percent > 100) throw refusal('ValueOutOfRange', `wave ${at + 1} takes ${percent} percent.`);
  const listed =
    selector === 'devices' || selector === 'cells' || selector === 'zones' ? wave[selector] : [''];
  if (listed?.length === 0) throw refusal('NoDevices', `wave ${at + 1} lists no ${selector}.`);
};

const checkListedOnce = (waves: readonly WaveSpec[], member: 'devices' | 'cells' | 'zones'): void => {
  const seen = new Set<string>();
  for (const name of waves.flatMap((wave) => wave[member] ?? [])) {
    if (seen.has(name)) throw refusal('WavesOverlap', `${name} is listed twice among the waves' ${member}.`);
    seen.add(name);
  }
};

const checkRest = (waves: readonly WaveSpec[]): void => {
  const first = waves.findIndex(({ rest }) => rest);
  if (first >= 0 && first !== waves.length - 1)
    throw refusal('WavesOverlap', 'waves after the one that takes the rest would take devices twice.');
  if (waves.filter(({ canaryCell }) => canaryCell).length > 1)
    throw refusal('WavesOverlap', 'the canary cell is in two waves.');
};

const inRange = (name: string, value: number, min: number, max: number): void => {
  if (!(value >= min && value <= max))
    throw refusal('ValueOutOfRange', `${name} is ${value}; it may be ${min} to ${max}.`);
};

const checkNumbers = ({ errorThreshold, concurrency, bakeMs, confirmMs }: PolicySpec): void => {
  if (!(errorThreshold >= 0 && errorThreshold <= 1))
    throw refusal(
      'ThresholdOutOfRange',
      `the error threshold is ${errorThreshold}; it is a fraction, 0 to 1.`,
    );
  inRange('concurrency', concurrency, 1, concurrencyMax);
  inRange('bakeMs', bakeMs, 0, Number.MAX_SAFE_INTEGER);
  inRange('confirmMs', confirmMs, confirmMsMin, 3_600_000);
};

const checkHealth = ({ lossMax, latencyFactorMax, strikes, everyMs }: HealthSpec): void => {
  inRange('health.lossMax', lossMax, 0, 1);
  inRange('health.latencyFactorMax', latencyFactorMax, 1, 1_000);
  inRange('health.strikes', strikes, 1, 10);
  inRange('health.everyMs', everyMs, 100, 3_600_000);
};

const careful: PolicySpec = {
  waves: [{ canaryCell: true }, { percent: 10 }, { percent: 40 }, { rest: true }],
  order: 'spread',
  concurrency: 16,
  bakeMs: 60_000,
  health: {
    checks: ['control', 'overlay', 'metadata', 'tcp', 'counters'],
    ...{ lossMax: 0.02, latencyFactorMax: 5, strikes: 2, everyMs: 2_000 },
  },
  errorThreshold: 0,
  onFailure: 'roll-back',
  unreachable: 'skip',
  confirmMs: 10_000,
};

/** For who names no policy. The urgent class: all at once, nobody waits for it, and what cannot be reached is told when it returns. */
export const defaultPolicies: Readonly<Record<ChangeClass, PolicySpec>> = {
  urgent: {
    ...{ ...careful, waves: [{ rest: true }], order: 'as-listed', concurrency: concurrencyMax, bakeMs: 0 },
    ...{ health: { ...careful.health, checks: [] }, errorThreshold: 1, onFailure: 'go-on' },
  },
  fleet: careful,
  // A process that begins anew on a busy host takes seconds.
  program: { ...careful, concurrency: 4, bakeMs: 300_000, confirmMs: 30_000 },
};
