/** A class of hosts whose evidence begins to lie, and is mended later: how soon the skip goes, and comes back (S5.4). */
import { evidenceOf } from '#reconfiguration/evidence.ts';
import { Feedback, spotCheckEvery } from '#reconfiguration/feedback.ts';
import type { SkippableStep } from '#reconfiguration/steps.ts';
import { skips } from '#reconfiguration/strategy.ts';
import { ModelHost, rebuild, wanted } from './model-host.ts';

export interface LyingRun {
  /** Upper bound of the skip's failure probability after each rebuild. */
  readonly riskMax: readonly number[];
  readonly skipped: readonly boolean[];
  /** Rebuilds that left the step out though that was wrong. */
  readonly wrongSkips: number;
  /** Of those, hosts that came back as they should not be. */
  readonly wrongHosts: number;
}

export interface LyingTimes {
  readonly liesFrom: number;
  readonly liesUntil: number;
  readonly rebuilds: number;
  /** Of hosts whose memory goes bad, so great a share loses a VM by it before it is rebuilt. Default: none, so nothing tells of it. */
  readonly feltShare?: number;
}

/** `slotLayout`: the host says that it has the layout; a validation launch sees it. `diagnostics`: memory goes bad and nothing counts it. */
export const lyingRun = (
  step: Extract<SkippableStep, 'slotLayout' | 'diagnostics'>,
  { liesFrom, liesUntil, rebuilds, feltShare = 0 }: LyingTimes,
): LyingRun => {
  let feedback = new Feedback();
  const key = { hostClass: 'rack', step, kind: evidenceOf[step] };
  const riskMax: number[] = [];
  const skipped: boolean[] = [];
  let wrongSkips = 0;
  let wrongHosts = 0;
  let host = readyHost();
  for (let at = 0; at < rebuilds; at++) {
    const lies = at >= liesFrom && at < liesUntil;
    host.set({ residue: true });
    host.wait(3_600_000);
    if (lies && step === 'diagnostics') {
      host.set({ memoryFault: true });
      // Evenly spread: of every so many one.
      if (Math.floor((at + 1) * feltShare) > Math.floor(at * feltShare)) host.crash(`i-${at}`);
    }
    if (lies && step === 'slotLayout') {
      host.layoutReported = wanted.layoutDigest;
      host.set({ layout: 'layout-1' });
    }
    const done = rebuild(host, feedback);
    feedback = done.feedback;
    const left = skips(done.strategy, step);
    skipped.push(left);
    riskMax.push(feedback.verdict(key).riskMax);
    if (left && lies) wrongSkips += 1;
    if (done.outcome === 'returned' && (host.truth.memoryFault || host.truth.layout !== wanted.layoutDigest))
      wrongHosts += 1;
    // A fault of memory is another host's story: each is replaced.
    if (step === 'diagnostics' && lies) host = readyHost();
  }
  return { riskMax, skipped, wrongSkips, wrongHosts };
};

/** Wrong skips at most, until one that a validation launch sees, or does not see, is withdrawn. */
export const wrongSkipsMax = (step: 'slotLayout' | 'diagnostics', failuresToWithdraw: number): number =>
  step === 'slotLayout' ? failuresToWithdraw : failuresToWithdraw * (spotCheckEvery + 1);

/** One that has been rebuilt before: all evidence is there. */
const readyHost = (): ModelHost => {
  const host = new ModelHost('rack');
  rebuild(host, new Feedback(), 'full');
  return host;
};
