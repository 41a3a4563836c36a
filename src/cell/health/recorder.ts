/**
 * Keeps what hosts report of their VMs' health as judgements beside the instances' rows. Written only when a judgement changes, so that a
 * healthy cell writes nothing; both processors judge, and the first to write has it (compare-and-set on what was judged before).
 */
import { metrics } from '#base/metrics.ts';
import type { VmReport } from '#contracts/host.ts';
import { noteUnexplained } from '../hosts/crashes.ts';
import { judgedMax, reconcileEveryMs } from '../limits.ts';
import type { CellServices } from '../services.ts';
import { type JudgedRow, judgedRows, writeHealth } from '../store/health.ts';
import { type InstanceHealth, judge, sameHealth } from './judge.ts';

interface Judged {
  readonly health: InstanceHealth;
  readonly hostId: string;
  /** Of the instance, as the host told it: a start forgets in the store what was judged before. */
  readonly generation: number | undefined;
  readonly readAtMs: number;
}

export class HealthRecorder {
  readonly #services: CellServices;
  /** The one judged longest ago first. */
  readonly #judged = new Map<string, Judged>();
  readonly #busy = new Set<string>();

  constructor(services: CellServices) {
    this.#services = services;
  }

  /** One report at a time for each host: what came meanwhile is in the next one too. */
  async record(hostId: string, vms: readonly VmReport[]): Promise<void> {
    if (this.#busy.has(hostId)) return;
    const news = vms.filter((vm) => this.#isNews(hostId, vm));
    if (news.length === 0) return;
    this.#busy.add(hostId);
    try {
      const { db } = this.#services;
      const rows = new Map(
        (
          await judgedRows(
            db,
            hostId,
            news.map((vm) => vm.instanceId),
          )
        ).map((row) => [row.id, row]),
      );
      for (const vm of news) {
        const row = rows.get(vm.instanceId);
        // Of one that should not run here nothing is kept: a VM that is stopped is no news with each report.
        if (row === undefined) this.#judged.delete(vm.instanceId);
        else await this.#settle(hostId, row, vm);
      }
    } finally {
      this.#busy.delete(hostId);
    }
  }

  #isNews(hostId: string, vm: VmReport): boolean {
    const { clock } = this.#services;
    const known = this.#judged.get(vm.instanceId);
    const isOther = known?.hostId !== hostId || known.generation !== vm.generation;
    if (known === undefined || isOther) return vm.health !== undefined;
    const next = judge(known.health, vm, clock.now());
    if (next === undefined) return false;
    return !sameHealth(known.health, next) || clock.monotonicMs() - known.readAtMs > reconcileEveryMs;
  }

  async #settle(hostId: string, row: JudgedRow, vm: VmReport): Promise<void> {
    const { db, clock, log } = this.#services;
    const next = judge(row.health, vm, clock.now());
    if (next === undefined) return;
    // Of one that nobody has heard of yet nothing is written: that is what a row without a judgement says.
    const isFresh =
      row.health === null && next.instance.status === 'initializing' && next.system.status === 'ok';
    if (!isFresh && !sameHealth(row.health, next)) {
      if (!(await writeHealth(db, { ...row, hostId }, next))) return;
      if (vm.health?.runState === 'guest-panicked' && row.health?.instance.cause !== 'guest-stopped')
        await noteUnexplained(db, this.#services, hostId, row.id, 'panicked');
      for (const check of ['instance', 'system'] as const) {
        const [before, after] = [row.health?.[check], next[check]];
        if (before?.status === after.status && before.cause === after.cause) continue;
        metrics.checkChanges.inc({ check, status: after.status });
        const line = { instance: row.id, host: hostId, check, before: before?.status, ...after };
        if (after.status === 'impaired')
          log.warn({ ...line, alarm: 'instance-impaired' }, 'an instance’s status check fails');
        else log.info(line, 'an instance’s status check has changed');
      }
    }
    this.#judged.delete(row.id);
    this.#judged.set(row.id, {
      health: next,
      hostId,
      generation: vm.generation,
      readAtMs: clock.monotonicMs(),
    });
    const [oldest] = this.#judged.keys();
    if (this.#judged.size > judgedMax && oldest !== undefined) this.#judged.delete(oldest);
  }
}
