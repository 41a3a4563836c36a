/** Many random host states, each rebuilt both ways from the same state: what must be equal, and what the shorter way saves. */
import { isDeepStrictEqual } from 'node:util';
import { Feedback } from '#reconfiguration/feedback.ts';
import { skippedSteps } from '#reconfiguration/strategy.ts';
import { live, newHost, type Random } from './lives.ts';
import { rebuild } from './model-host.ts';

export interface FleetFigures {
  readonly states: number;
  readonly different: number;
  readonly escalated: number;
  readonly skips: number;
  readonly fullMs: number;
  readonly reducedMs: number;
  /** 1 − reduced / full over all states. */
  readonly saved: number;
  readonly outcomes: Readonly<Record<string, number>>;
}

export const bothWays = (states: number, random: Random, roughness = 1): FleetFigures => {
  let feedback = new Feedback();
  const outcomes: Record<string, number> = {};
  const sums = { different: 0, escalated: 0, skips: 0, fullMs: 0, reducedMs: 0 };
  const fleet = Array.from({ length: Math.min(states, 100) }, () => newHost(random));
  for (let at = 0; at < states; at++) {
    const index = at % fleet.length;
    const host = fleet[index] ?? newHost(random);
    live(host, random, roughness);
    const twin = host.copy();
    const full = rebuild(twin, feedback, 'full');
    const reduced = rebuild(host, feedback);
    feedback = reduced.feedback;
    sums.skips += reduced.passes[0] === 'reduced' ? skippedSteps(reduced.strategy).length : 0;
    sums.escalated += reduced.passes[0] === 'reduced' && reduced.passes.length > 1 ? 1 : 0;
    sums.fullMs += full.tookMs;
    sums.reducedMs += reduced.tookMs;
    if (full.outcome !== reduced.outcome || !isDeepStrictEqual(twin.state, host.state)) sums.different += 1;
    outcomes[reduced.outcome] = (outcomes[reduced.outcome] ?? 0) + 1;
    // Its VMs end, or it is replaced: the next state is another one.
    if (reduced.outcome === 'out') fleet[index] = newHost(random);
    host.truth.vms = 0;
  }
  return { states, ...sums, saved: 1 - sums.reducedMs / sums.fullMs, outcomes };
};
