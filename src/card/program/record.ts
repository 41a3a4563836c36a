/**
 * Which version of the card's program runs on this card (S8.6): one file, written by the card's own process alone.
 *
 *   settled ──(begin)→ on trial ──(confirmed)→ settled
 *                          └──(ended, or too late)→ failed: the settled one runs again
 *
 * A version is named by the digest of its code; absent: the machine's own program, which every process of a card begins as.
 */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { z } from 'zod';
import { writeAtomicallySync } from '#base/writeAtomically.ts';

/** A name of a directory: nothing else may be one. */
export const programVersion = z.string().regex(/^[0-9a-f]{16}$/);

const trial = z.object({
  version: programVersion.optional(),
  /** The transaction whose confirmation settles it. */
  transactionId: z.string(),
  /** By the clock of this boot; `withinMs` before it, it was begun. */
  untilMs: z.number(),
  withinMs: z.number(),
  /** Its process has been started: a second start means that the first has ended. */
  begun: z.boolean(),
  /** Settled by the first call of its agent, where no rollout waits to confirm it. */
  byAgent: z.boolean(),
});
export type Trial = z.infer<typeof trial>;

const failure = z.object({ transactionId: z.string(), detail: z.string(), atMs: z.number() });

const programRecord = z.object({
  settled: programVersion.optional(),
  trial: trial.optional(),
  failed: z.array(failure),
});
export type ProgramRecord = z.infer<typeof programRecord>;

/** Failures that are remembered, the latest. */
const failedMax = 32;
const nothing: ProgramRecord = { failed: [] };

export const recordPath = (stateDir: string): string => join(stateDir, 'program.json');

/** A file that cannot be read says nothing: the machine's own program runs, and the fleet's settings say the rest. */
export const readRecord = (path: string): ProgramRecord => {
  try {
    return programRecord.parse(JSON.parse(readFileSync(path, 'utf8')));
  } catch {
    return nothing;
  }
};

export const writeRecord = (path: string, record: ProgramRecord): void =>
  writeAtomicallySync(path, JSON.stringify(record));

/** What is left of a trial's time. A clock that went back is another boot's: nothing is left. */
export const leftMs = ({ untilMs, withinMs }: Trial, nowMs: number): number => {
  const left = untilMs - nowMs;
  return left > withinMs ? 0 : Math.max(0, left);
};

export const failed = (record: ProgramRecord, detail: string, nowMs: number): ProgramRecord => {
  if (record.trial === undefined) return record;
  const { transactionId } = record.trial;
  const others = record.failed.filter((each) => each.transactionId !== transactionId);
  return {
    settled: record.settled,
    failed: [...others, { transactionId, detail, atMs: nowMs }].slice(-failedMax),
  };
};

/** Which program this start of the card's process is, and what the record says once it has begun. Pure. */
export const atStart = (
  record: ProgramRecord,
  nowMs: number,
): { readonly record: ProgramRecord; readonly version: string | undefined; readonly isTrial: boolean } => {
  const { trial: tried, settled } = record;
  if (tried === undefined) return { record, version: settled, isTrial: false };
  if (tried.begun || leftMs(tried, nowMs) === 0) {
    const why =
      leftMs(tried, nowMs) === 0
        ? `was not confirmed in ${tried.withinMs} ms`
        : 'ended before it was confirmed';
    const after = failed(record, `program ${tried.version ?? 'of the machine'} ${why}`, nowMs);
    return { record: after, version: settled, isTrial: false };
  }
  return { record: { ...record, trial: { ...tried, begun: true } }, version: tried.version, isTrial: true };
};
