/** From what cards have measured to a verdict (S8.3): against what was measured before anything changed. Pure. */
import { z } from 'zod';
import type { ProbeReport } from '#contracts/card-probe.ts';
import type { HealthSpec } from '#contracts/rollout-policy.ts';

/** What one card measured. */
export interface Measured {
  readonly deviceId: string;
  readonly report: ProbeReport;
}

/** Before: of all cards together. Counters by card, as they only grow. */
export const healthBaseline = z.object({
  loss: z.number(),
  latencyMs: z.number().optional(),
  tcpMs: z.number().optional(),
  metadataMs: z.number().optional(),
  counters: z.record(z.string(), z.object({ packets: z.number(), dropped: z.number() })),
});
export type HealthBaseline = z.infer<typeof healthBaseline>;

/** Above what is relative to the baseline: so long may chance delay an answer. */
const latencySlackMs = 20;
const streamSlackMs = 500;
/** Fewer packets that were dropped say nothing. */
const droppedMin = 20;

const medianOf = (values: readonly number[]): number | undefined =>
  [...values].sort((a, b) => a - b)[values.length >> 1];

/** Datagrams that did not come back, as a fraction. */
const lossOf = (reports: readonly ProbeReport[]): number => {
  const peers = reports.flatMap((report) => report.peers);
  const sent = peers.reduce((sum, each) => sum + each.sent, 0);
  return sent === 0 ? 0 : 1 - peers.reduce((sum, { received }) => sum + received, 0) / sent;
};

export const baselineOf = (measured: readonly Measured[]): HealthBaseline => {
  const reports = measured.map(({ report }) => report);
  const peers = reports.flatMap((report) => report.peers);
  const latencyMs = medianOf(peers.flatMap(({ latencyMs: ms }) => ms ?? []));
  const tcpMs = medianOf(peers.flatMap(({ tcp }) => tcp?.ms ?? []));
  const metadataMs = medianOf(reports.flatMap(({ metadata }) => metadata?.ms ?? []));
  return {
    loss: lossOf(reports),
    ...(latencyMs !== undefined && { latencyMs }),
    ...(tcpMs !== undefined && { tcpMs }),
    ...(metadataMs !== undefined && { metadataMs }),
    counters: Object.fromEntries(
      measured.flatMap(({ deviceId, report: { counters } }) =>
        counters === undefined ? [] : [[deviceId, counters]],
      ),
    ),
  };
};

const percent = (fraction: number): string => `${(100 * fraction).toFixed(0)} %`;
/** Without a time of before, none is too long. */
const slow = (spec: HealthSpec, before: number | undefined, slackMs: number): number =>
  before === undefined ? Number.POSITIVE_INFINITY : before * spec.latencyFactorMax + slackMs;

/** What is wrong at one card by the checks that the policy names; empty: nothing. */
export const complaintsOf = (
  spec: HealthSpec,
  baseline: HealthBaseline,
  { deviceId, report }: Measured,
): string[] => {
  const wrong: string[] = [];
  const say = (what: string): void => {
    wrong.push(`${deviceId}: ${what}`);
  };
  if (spec.checks.includes('overlay')) overlay(spec, baseline, report, say);
  if (spec.checks.includes('tcp')) streams(spec, baseline, report, say);
  if (spec.checks.includes('metadata') && report.metadata?.ok !== true)
    say(`metadata: ${report.metadata?.detail ?? 'not measured'}`);
  if (spec.checks.includes('counters')) counters(spec, baseline.counters[deviceId], report, say);
  return wrong;
};

type Say = (what: string) => void;

const overlay = (spec: HealthSpec, before: HealthBaseline, report: ProbeReport, say: Say): void => {
  const loss = lossOf([report]);
  if (loss > before.loss + spec.lossMax) {
    const silent = report.peers.filter(({ received }) => received === 0).map(({ ip }) => ip);
    const where = silent.length === 0 ? '' : `; nothing from ${silent.slice(0, 4).join(', ')}`;
    say(`overlay: ${percent(loss)} of datagrams lost, ${percent(before.loss)} before${where}`);
  }
  const latencyMs = medianOf(report.peers.flatMap(({ latencyMs: ms }) => ms ?? []));
  const limitMs = slow(spec, before.latencyMs, latencySlackMs);
  if (latencyMs !== undefined && latencyMs > limitMs)
    say(`overlay: latency ${latencyMs.toFixed(1)} ms, ${before.latencyMs?.toFixed(1) ?? '?'} ms before`);
};

const streams = (spec: HealthSpec, before: HealthBaseline, report: ProbeReport, say: Say): void => {
  const limitMs = slow(spec, before.tcpMs, streamSlackMs);
  for (const { ip, tcp } of report.peers) {
    if (tcp?.ok !== true) say(`tcp to ${ip}: ${tcp?.detail ?? 'not measured'}`);
    else if (tcp.ms > limitMs)
      say(`tcp to ${ip}: ${tcp.ms.toFixed(0)} ms, ${before.tcpMs?.toFixed(0) ?? '?'} ms before`);
  }
};

const counters = (
  spec: HealthSpec,
  before: HealthBaseline['counters'][string] | undefined,
  { counters: now }: ProbeReport,
  say: Say,
): void => {
  if (now === undefined) {
    say('counters: not measured');
    return;
  }
  // A card that was not asked before has nothing to be compared with; one whose namespaces were made anew counts from none.
  const dropped = now.dropped - (before?.dropped ?? now.dropped);
  const packets = now.packets - (before?.packets ?? now.packets);
  if (dropped < droppedMin || packets < 0) return;
  const fraction = dropped / (packets + dropped);
  if (fraction > spec.lossMax)
    say(`counters: ${dropped} packets dropped (${percent(fraction)}) since before`);
};
