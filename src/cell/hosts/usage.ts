/**
 * What VMs have really used lately, as their hosts' reports count it: the most of each in the last half hour or hour. Every processor
 * hears every report and keeps its own book; one that has just begun knows nothing for a while.
 */
import type { VmReport } from '#contracts/host.ts';
import { usageKeptMs, usageSampleMs, usageVmsMax } from '../limits.ts';

export interface Usage {
  readonly vcpusMilli: number;
  /** What its VMM has resident: the guest's memory that was ever touched, so rather too much than too little. */
  readonly memoryMib: number;
  /** The busier direction. */
  readonly networkMbps: number;
}

export interface Observed extends Usage {
  /** For how long it has been measured. */
  readonly observedMs: number;
}

interface Sample {
  readonly hostId: string;
  readonly atMs: number;
  readonly cpuSeconds: number;
  readonly rxBytes: number;
  readonly txBytes: number;
}

interface Kept {
  sample: Sample;
  observedMs: number;
  /** The most since `turnedMs`, and in the time before that: a peak is forgotten after one such time at least. */
  now: Usage;
  before: Usage;
  turnedMs: number;
}

const none: Usage = { vcpusMilli: 0, memoryMib: 0, networkMbps: 0 };
const bytesPerMib = 1024 * 1024;
const bitsPerMbit = 1_000_000;

const most = (a: Usage, b: Usage): Usage => ({
  vcpusMilli: Math.max(a.vcpusMilli, b.vcpusMilli),
  memoryMib: Math.max(a.memoryMib, b.memoryMib),
  networkMbps: Math.max(a.networkMbps, b.networkMbps),
});

/** Between two samples of one VMM; undefined: its counters began anew, so nothing is known of the time between. */
const between = (a: Sample, b: Sample, residentBytes: number): Usage | undefined => {
  if (a.hostId !== b.hostId || b.cpuSeconds < a.cpuSeconds) return undefined;
  const seconds = (b.atMs - a.atMs) / 1000;
  // A card that began anew counts from 0.
  const bytes = Math.max(0, b.rxBytes - a.rxBytes, b.txBytes - a.txBytes);
  return {
    vcpusMilli: ((b.cpuSeconds - a.cpuSeconds) / seconds) * 1000,
    memoryMib: residentBytes / bytesPerMib,
    networkMbps: (bytes * 8) / bitsPerMbit / seconds,
  };
};

export class UsageBook {
  /** In the order in which they were heard of last. */
  readonly #kept = new Map<string, Kept>();

  /** Takes a host's report. `nowMs`: monotonic. */
  look(hostId: string, vms: readonly VmReport[], nowMs: number): void {
    for (const vm of vms) if (vm.state === 'running') this.#lookAt(hostId, vm, nowMs);
  }

  #lookAt(
    hostId: string,
    { instanceId, cpuSeconds, residentBytes, rxBytes = 0, txBytes = 0 }: VmReport,
    nowMs: number,
  ): void {
    if (cpuSeconds === undefined || residentBytes === undefined) return;
    const sample: Sample = { hostId, atMs: nowMs, cpuSeconds, rxBytes, txBytes };
    const kept = this.#kept.get(instanceId);
    this.#kept.delete(instanceId);
    if (kept === undefined) {
      this.#kept.set(instanceId, { sample, observedMs: 0, now: none, before: none, turnedMs: nowMs });
      const [oldest] = this.#kept.keys();
      if (this.#kept.size > usageVmsMax && oldest !== undefined) this.#kept.delete(oldest);
      return;
    }
    this.#kept.set(instanceId, kept);
    // A moment's burst is no measure of what a VM needs.
    if (nowMs - kept.sample.atMs < usageSampleMs) return;
    const used = between(kept.sample, sample, residentBytes);
    if (used !== undefined) this.#add(kept, used, nowMs);
    kept.sample = sample;
  }

  #add(kept: Kept, used: Usage, nowMs: number): void {
    if (nowMs - kept.turnedMs >= usageKeptMs)
      Object.assign(kept, { before: kept.now, now: none, turnedMs: nowMs });
    kept.now = most(kept.now, used);
    kept.observedMs += nowMs - kept.sample.atMs;
  }

  of(instanceId: string): Observed | undefined {
    const kept = this.#kept.get(instanceId);
    return kept === undefined ? undefined : { ...most(kept.now, kept.before), observedMs: kept.observedMs };
  }
}
