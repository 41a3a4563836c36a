/**
 * Calls of many accounts at a fixed pace, whatever becomes of the answers: a region that is slower or faster is not asked less or more. What a
 * call took counts from when it was due, so that a call that had to wait for the one before it is no fast one.
 */
import { setTimeout as pause } from 'node:timers/promises';
import { Ec2Error } from '#cli/ec2Client.ts';

/** One who calls: which of its calls it makes at its turn. */
export type Caller = (turn: number) => Promise<unknown>;

export interface Figures {
  readonly calls: number;
  readonly errors: readonly string[];
  readonly p50Ms: number;
  readonly p99Ms: number;
}

const outcomeOf = (error: unknown): string | undefined => {
  if (!(error instanceof Ec2Error)) return String(error);
  return error.code === 'DryRunOperation' ? undefined : error.message;
};

const quantile = (sorted: readonly number[], share: number): number =>
  sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? Number.NaN;

/** `rounds` calls of each, one every `everyMs`, spread evenly over that time. Resolves when all are answered. */
export async function steadyLoad(
  callers: readonly Caller[],
  { rounds, everyMs }: { readonly rounds: number; readonly everyMs: number },
): Promise<Figures> {
  const tookMs: number[] = [];
  const errors: string[] = [];
  const begun = performance.now();
  await Promise.all(
    callers.map(async (call, at) => {
      for (let turn = 0; turn < rounds; turn++) {
        const due = begun + (turn + at / callers.length) * everyMs;
        await pause(Math.max(0, due - performance.now()));
        const error = await call(turn).then(() => undefined, outcomeOf);
        tookMs.push(performance.now() - due);
        if (error !== undefined) errors.push(error);
      }
    }),
  );
  tookMs.sort((a, b) => a - b);
  return { calls: tookMs.length, errors, p50Ms: quantile(tookMs, 0.5), p99Ms: quantile(tookMs, 0.99) };
}

/** For people. */
export const shownFigures = ({ calls, errors, p50Ms, p99Ms }: Figures): string =>
  `${calls} calls, ${errors.length} errors, p50 ${p50Ms.toFixed(1)} ms, p99 ${p99Ms.toFixed(1)} ms`;
