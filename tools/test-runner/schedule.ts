/** Which test files run at the same time: as much as the machine has processors for, and beside what measures only what sleeps. */
import type { Share } from './shares.ts';

export interface Job {
  readonly file: string;
  readonly share: Share;
}

/** A file that mostly waits may run beside as many busy ones as there are processors. */
const beyondCores = 0.8;
/** Of a processor, beside what must be alone: one file that waits for leases and time-outs nearly all of its time. */
const besideAlone = 0.4;

/** What must be alone comes first, while nothing else runs; then the longest, so that none is left over at the end. */
export const inOrder = (jobs: readonly Job[]): Job[] =>
  jobs.toSorted(
    ({ share: one, file }, { share: other, file: otherFile }) =>
      Number(other.alone) - Number(one.alone) || other.seconds - one.seconds || (file < otherFile ? -1 : 1),
  );

/** Each has namespaces, names and addresses of its own; two regions with VMs keep more than two processors busy anyhow. */
const realMax = 2;

/** Whether `next` may start beside what runs. Pure. */
export function fits(next: Share, running: readonly Share[], cores: number): boolean {
  if (running.length === 0) return true;
  const all = [next, ...running];
  const lone = all.filter(({ alone }) => alone);
  if (lone.length > 1) return false;
  if (
    lone.length === 1 &&
    (all.some(({ alone, real }) => !alone && real) || load(all) - load(lone) > besideAlone)
  )
    return false;
  if (next.real && running.filter(({ real }) => real).length >= realMax) return false;
  return load(all) <= cores + beyondCores;
}

const load = (shares: readonly Share[]): number => shares.reduce((sum, { cores }) => sum + cores, 0);

/** Runs all, each as soon as it fits; the first of the order that fits is taken. Ends early where `ended` says so. */
export async function runAll(
  jobs: readonly Job[],
  cores: number,
  work: (job: Job) => Promise<void>,
  ended: () => boolean,
): Promise<void> {
  const waiting = inOrder(jobs);
  const running = new Map<Job, Promise<Job>>();
  const begin = (job: Job): void => {
    waiting.splice(waiting.indexOf(job), 1);
    const over = work(job).then(() => job);
    running.set(job, over);
  };
  for (;;) {
    for (const job of [...waiting]) {
      const beside = [...running.keys()].map(({ share }) => share);
      if (!ended() && fits(job.share, beside, cores)) begin(job);
    }
    if (running.size === 0) return;
    running.delete(await Promise.race(running.values()));
  }
}
