/**
 * Looks now and then whether the kernel still has what this device put there, while nothing changes: what was lost behind its back is put
 * back. What is there besides is left alone: whoever changes this device by first and second state is told of it (drift).
 */
import { setTimeout as delay } from 'node:timers/promises';
import type { Logger } from '#base/log.ts';
import { monotonicMs } from '#base/monotonic.ts';
import { kernelLookEveryMs, kernelLookRest } from './limits.ts';
import type { Vpc } from './vpc.ts';

export class KernelWatch {
  readonly #vpcs: ReadonlyMap<string, Vpc>;
  readonly #log: Logger;
  readonly #everyMs: number;
  readonly #stop = new AbortController();
  /** What was told of each VPC at the last look: the same again is not told again. */
  readonly #told = new Map<string, string>();

  constructor(vpcs: ReadonlyMap<string, Vpc>, log: Logger, everyMs = kernelLookEveryMs) {
    this.#vpcs = vpcs;
    this.#log = log;
    this.#everyMs = everyMs;
  }

  start(): void {
    void this.#run();
  }

  stop(): void {
    this.#stop.abort();
  }

  async #run(): Promise<void> {
    while (!this.#stop.signal.aborted) {
      await this.#rest(this.#everyMs);
      for (const vpcId of [...this.#vpcs.keys()]) {
        const beganMs = monotonicMs();
        await this.#look(vpcId);
        // A look at a large VPC costs much: the share of the time that looks may take is bounded, not their number.
        await this.#rest((monotonicMs() - beganMs) * kernelLookRest);
      }
    }
  }

  async #rest(ms: number): Promise<void> {
    await delay(Math.min(ms, this.#everyMs), undefined, { signal: this.#stop.signal, ref: false }).catch(
      () => undefined,
    );
  }

  async #look(vpcId: string): Promise<void> {
    const vpc = this.#vpcs.get(vpcId);
    if (vpc === undefined || this.#stop.signal.aborted) return;
    try {
      const lost = await vpc.loss();
      if (lost === undefined) return void this.#told.delete(vpcId);
      this.#tell(vpcId, `lost behind our back, and put back: ${lost}`);
      await vpc.serialize(() => vpc.mend());
    } catch (err) {
      this.#tell(vpcId, 'what was lost is not put back; the next look tries again', err);
    }
  }

  #tell(vpcId: string, what: string, err?: unknown): void {
    if (this.#told.get(vpcId) === what) return;
    this.#told.set(vpcId, what);
    this.#log.error({ vpcId, err }, `ALARM: kernel state: ${what}`);
  }
}
