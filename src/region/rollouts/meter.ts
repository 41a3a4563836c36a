/** Health by what devices answer: each changed device still answers, as quickly as before. */
import { monotonicMs } from '#base/monotonic.ts';
import type { RolloutRecord } from '#rollout/record.ts';
import type { Verdict } from '#rollout/run.ts';
import type { HealthMeter } from './engine.ts';
import type { Fleet } from './fleet.ts';

/** Devices asked at the same time. */
const askedMax = 32;

export class CallMeter implements HealthMeter {
  readonly #fleet: Fleet;
  readonly #now: () => number;

  constructor(fleet: Fleet, now: () => number) {
    this.#fleet = fleet;
    this.#now = now;
  }

  async baseline(record: RolloutRecord): Promise<{ readonly baseline: unknown; readonly verdict: Verdict }> {
    const ids = this.#fleet.devices().flatMap(({ id }) => (this.#fleet.reachable(id) ? id : []));
    const verdict = await this.measure(record, ids);
    return { baseline: {}, verdict };
  }

  async measure(_record: RolloutRecord, changed: readonly string[]): Promise<Verdict> {
    const beganMs = this.#now();
    const silent: string[] = [];
    for (let at = 0; at < changed.length; at += askedMax)
      await Promise.all(
        changed.slice(at, at + askedMax).map(async (id) => {
          const asked = monotonicMs();
          const answer = await this.#fleet
            .device(id)
            ?.objects([])
            .catch(() => undefined);
          if (answer === undefined) silent.push(`${id} (${Math.round(monotonicMs() - asked)} ms)`);
        }),
      );
    if (silent.length === 0) return { kind: 'healthy', detail: '', beganMs };
    return { kind: 'unhealthy', detail: `no answer from ${silent.slice(0, 8).join(', ')}`, beganMs };
  }
}
