/**
 * Keeps what hosts report of their VMs' health as judgements beside the instances' rows. Written only when a judgement changes, so that a
 * healthy cell writes nothing; both processors judge, and the first to write has it (compare-and-set on what was judged before).
 */
import { metrics } from '#base/metrics.ts';
import type { VmReport } from '#contracts/host.ts';
import { generationOf } from '../generation.ts';
import { noteUnexplained } from '../hosts/crashes.ts';
import { judgedMax, reconcileEveryMs } from '../limits.ts';
import type { CellServices } from '../services.ts';
import { type JudgedAnew, type JudgedRow, judgedRows, writeHealth } from '../store/health.ts';
import { type InstanceHealth, isOlderEnd, judge, sameHealth } from './judge.ts';

interface Judged {
  readonly health: InstanceHealth;
  readonly hostId: string;
  /** Of the instance, as the host told it: a start forgets in the store what was judged before. */
  readonly generation: number | undefined;
  readonly readAtMs: number;
}

/** A VM's judgement by a report, beside the one that is kept. */
interface Told extends JudgedAnew {
  readonly vm: VmReport;
  /** To be written down. */
  readonly isChange: boolean;
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
      const told: Told[] = [];
      for (const vm of news) {
        const row = rows.get(vm.instanceId);
        // Of one that should not run here nothing is kept: a VM that is stopped is no news with each report.
        if (row === undefined) this.#judged.delete(vm.instanceId);
        else told.push(...this.#judge(row, vm));
      }
      await this.#settle(hostId, told);
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

  #judge(row: JudgedRow, vm: VmReport): readonly Told[] {
    if (isOlderEnd(vm, generationOf(row.place_epoch))) return [];
    const next = judge(row.health, vm, this.#services.clock.now());
    if (next === undefined) return [];
    // Of one that nobody has heard of yet nothing is written: that is what a row without a judgement says.
    const isFresh =
      row.health === null && next.instance.status === 'initializing' && next.system.status === 'ok';
    return [{ ...row, vm, next, isChange: !isFresh && !sameHealth(row.health, next) }];
  }

  /** What a host tells of many VMs is one statement. */
  async #settle(hostId: string, told: readonly Told[]): Promise<void> {
    // A host that names a VM twice is taken at its last word: a statement changes a row once.
    const changed = [
      ...new Map(told.filter(({ isChange }) => isChange).map((each) => [each.id, each])).values(),
    ];
    const written =
      changed.length === 0 ? new Set<string>() : await writeHealth(this.#services.db, hostId, changed);
    for (const each of told) {
      if (each.isChange && !written.has(each.id)) continue;
      if (each.isChange) await this.#tell(hostId, each);
      this.#remember(hostId, each);
    }
  }

  async #tell(hostId: string, { id, health, vm, next }: Told): Promise<void> {
    const { db, log } = this.#services;
    if (vm.health?.runState === 'guest-panicked' && health?.instance.cause !== 'guest-stopped')
      await noteUnexplained(db, this.#services, hostId, id, 'panicked');
    for (const check of ['instance', 'system'] as const) {
      const [before, after] = [health?.[check], next[check]];
      if (before?.status === after.status && before.cause === after.cause) continue;
      metrics.checkChanges.inc({ check, status: after.status });
      const line = { instance: id, host: hostId, check, before: before?.status, ...after };
      if (after.status === 'impaired')
        log.warn({ ...line, alarm: 'instance-impaired' }, 'an instance’s status check fails');
      else log.info(line, 'an instance’s status check has changed');
    }
  }

  #remember(hostId: string, { id, vm, next }: Told): void {
    const { clock } = this.#services;
    this.#judged.delete(id);
    this.#judged.set(id, {
      health: next,
      hostId,
      generation: vm.generation,
      readAtMs: clock.monotonicMs(),
    });
    const [oldest] = this.#judged.keys();
    if (this.#judged.size > judgedMax && oldest !== undefined) this.#judged.delete(oldest);
  }
}
