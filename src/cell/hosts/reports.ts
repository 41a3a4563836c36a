/** Hosts that connect and report: who may join, who was heard, and when a report is compared with the store (reconcile.ts). */
import { hash } from 'node:crypto';
import type { ParsedParams, Result } from '#base/rpc/contract.ts';
import { PandoError } from '#contracts/errors.ts';
import type { hostEventsContract, VmReport } from '#contracts/host.ts';
import { HealthRecorder } from '../health/recorder.ts';
import { reconcileEveryMs, reportEveryMs } from '../limits.ts';
import { isNothing, setReserve } from '../store/claims.ts';
import { setHomeGeneration } from '../store/homes.ts';
import { type Heard, touchHosts, upsertHost } from '../store/hosts.ts';
import { listHostInstances } from '../store/instances.ts';
import { checkHome } from './homes.ts';
import { PressureWatch } from './pressure.ts';
import { HostReconciler, type ReconcilerOptions } from './reconcile.ts';
import type { HostCaller } from './sessions.ts';

type Hello = ParsedParams<typeof hostEventsContract, 'host.hello'>;
type Report = ParsedParams<typeof hostEventsContract, 'host.report'>;

interface Seen {
  digest: string;
  reconciledAt: number;
  running: boolean;
}

const digestOf = (vms: readonly VmReport[]): string =>
  hash('sha1', vms.map(({ instanceId, state }) => `${instanceId}:${state};`).join(''), 'base64');

export class HostReports {
  readonly #options: ReconcilerOptions;
  readonly #reconciler: HostReconciler;
  readonly #health: HealthRecorder;
  readonly #seen = new Map<string, Seen>();
  readonly #heard = new Map<string, Omit<Heard, 'hostId'>>();
  readonly #pressure: PressureWatch;

  constructor(options: ReconcilerOptions) {
    this.#options = options;
    this.#reconciler = new HostReconciler(options);
    this.#health = new HealthRecorder(options.services);
    const { capacity, clock } = options.services;
    this.#pressure = new PressureWatch({ capacity, clock });
  }

  /** VMs of connected hosts that no row accounts for. */
  get quarantined(): number {
    return this.#reconciler.quarantine.size;
  }

  async hello(hello: Hello, caller: HostCaller): Promise<Result<typeof hostEventsContract, 'host.hello'>> {
    const { services } = this.#options;
    const { db, identity, limits, oversubscription, log } = services;
    const hasRoom = await checkHome(services, hello);
    if (hello.zone !== identity.zone)
      throw new PandoError(
        'Conflict',
        `Host ${hello.hostId} is in ${hello.zone}, this cell in ${identity.zone}.`,
      );
    if (!hasRoom)
      throw new PandoError('Conflict', `Cell ${identity.cellId} is full: ${limits.hosts} hosts (S3.7).`);
    const joined = await upsertHost(db, hello, oversubscription);
    const generation = hello.pinnedTo?.generation ?? 1;
    // When a cell begins, all of its hosts say hello at once: what is so already is not written again.
    if ((joined?.home_generation ?? 0) < generation) await setHomeGeneration(db, hello.hostId, generation);
    const hasReserve = joined?.has_reserve !== false || !isNothing(services.reserve);
    if (hasReserve && !(await db.transaction((tx) => setReserve(tx, hello.hostId, services.reserve))))
      log.warn({ host: hello.hostId }, 'a host has no room for its reserve: it is tried with its next hello');
    services.hosts.attach(hello.hostId, caller);
    services.vpcs.forgetHost(hello.hostId);
    log.info({ host: hello.hostId, vms: hello.vms.length }, 'host connected');
    // After the answer: the host serves calls only once its hello is answered.
    setImmediate(() => {
      void this.#reconcileNetwork(hello.hostId).catch((error: unknown) =>
        log.warn(
          { host: hello.hostId, err: error },
          'the card’s state could not be compared: its next connection will',
        ),
      );
      this.#reconcileSoon(hello.hostId, hello.vms);
    });
    const { cellId, cellNumber, region } = identity;
    return { cellId, reportEveryMs, cellNumber, ...(region === '' ? {} : { region }) };
  }

  report(report: Report): Record<string, never> {
    const { hostId, card, diskCapacityMib, networkMbps, vms } = report;
    const { hosts, log } = this.#options.services;
    this.#heard.set(hostId, { card, diskCapacityMib, networkMbps });
    hosts.tellsHealth(hostId, diskCapacityMib !== undefined);
    this.#health
      .record(hostId, vms)
      .catch((error: unknown) =>
        log.warn(
          { host: hostId, err: error },
          'the health of a host’s VMs was not kept: its next report tells it again',
        ),
      );
    this.#pressure.look(report);
    const { usage, clock } = this.#options.services;
    usage.look(hostId, vms, clock.monotonicMs());
    this.#reconcileSoon(hostId, vms);
    return {};
  }

  gone(hostId: string, caller: HostCaller): void {
    const { services } = this.#options;
    if (!services.hosts.detach(hostId, caller)) return;
    services.vpcs.forgetHost(hostId);
    this.#seen.delete(hostId);
    this.#pressure.forget(hostId);
    this.#reconciler.quarantine.forgetHost(hostId);
    services.log.warn({ host: hostId }, 'host disconnected');
  }

  /** Writes who was heard since the last time: one statement for all hosts. */
  async flushHeard(): Promise<void> {
    if (this.#heard.size === 0) return;
    const heard = [...this.#heard].map(([hostId, told]) => ({ hostId, ...told }));
    this.#heard.clear();
    const { db, oversubscription } = this.#options.services;
    await touchHosts(db, heard, oversubscription);
  }

  async #reconcileNetwork(hostId: string): Promise<void> {
    const { services } = this.#options;
    await services.vpcs.reconcileHost(hostId, async () => {
      const rows = await listHostInstances(services.db, hostId);
      const present = rows.filter((row) => row.state !== 'terminated' && row.state !== 'stopped');
      return new Set(present.map((row) => row.vpc_id));
    });
  }

  /** Only what changed is compared with the store, and everything now and then. */
  #reconcileSoon(hostId: string, vms: readonly VmReport[]): void {
    const { clock, log } = this.#options.services;
    const digest = digestOf(vms);
    const seen = this.#seen.get(hostId) ?? {
      digest: '',
      reconciledAt: Number.NEGATIVE_INFINITY,
      running: false,
    };
    this.#seen.set(hostId, seen);
    if (
      seen.running ||
      (seen.digest === digest && clock.monotonicMs() - seen.reconciledAt < reconcileEveryMs)
    )
      return;
    seen.running = true;
    this.#reconciler
      .reconcile(hostId, vms)
      .then((settled) => {
        // What is in the hands of a workflow is looked at again with the next report.
        // Then no digest is settled: a host that goes back to how it was before must be compared too.
        Object.assign(seen, settled ? { digest, reconciledAt: clock.monotonicMs() } : { digest: '' });
      })
      .catch((error: unknown) =>
        log.warn({ host: hostId, err: error }, 'a host’s report could not be compared'),
      )
      .finally(() => {
        seen.running = false;
      });
  }
}
