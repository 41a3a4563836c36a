/**
 * Looks at the disk and at each VM now and then: what its VMM says of itself, whether its processors get on, what its card has heard of
 * it. A VM that stands still because the disk was full, and for no other reason, is let go on once there is room.
 */
import type { Logger } from '#base/log.ts';
import { monotonicMs } from '#base/monotonic.ts';
import { PandoError } from '#contracts/errors.ts';
import type { Heard } from './guest-watch.ts';
import type { Host } from './host.ts';
import {
  healthAnswerMsMax,
  healthEveryMs,
  healthLooksAtOnceMax,
  resumePauseMsMax,
  resumePauseMsMin,
  resumeRoomMib,
} from './limits.ts';
import type { Room } from './room.ts';
import { type Looked, processorNanoseconds, runStateOf, standsStillWithoutSpace } from './run-state.ts';
import type { Vm } from './vm.ts';

/** When a VM may be let go on next, and how long it is waited after that. */
interface Resumption {
  readonly at: number;
  readonly pauseMs: number;
}

export class HealthWatch {
  readonly #host: Host;
  readonly #log: Logger;
  readonly #resumptions = new WeakMap<Vm, Resumption>();
  #timer: NodeJS.Timeout | undefined;
  #closed = false;
  #full = false;

  constructor(host: Host, log: Logger) {
    this.#host = host;
    this.#log = log;
    this.#schedule();
  }

  close(): void {
    this.#closed = true;
    clearTimeout(this.#timer);
  }

  #schedule(): void {
    if (this.#closed) return;
    this.#timer = setTimeout(() => {
      this.#turn()
        .catch((error: unknown) => this.#log.warn({ err: error }, 'the VMs were not looked at'))
        .finally(() => this.#schedule());
    }, healthEveryMs);
  }

  async #turn(): Promise<void> {
    const vms = this.#host.vms.filter(({ record, isMoving }) => record.process !== undefined && !isMoving);
    await this.#listen(vms);
    for (let at = 0; at < vms.length; at += healthLooksAtOnceMax)
      await Promise.all(vms.slice(at, at + healthLooksAtOnceMax).map(lookAt));
    const room = await this.#host.disk.room();
    this.#tellSpace(vms, room);
    for (const vm of vms) if (vm.watch.noSpace && this.#hasRoom(room)) this.#letGoOn(vm);
    await this.#host.disk.spare.refill();
  }

  /** What the card has heard. One of the last release does not tell. */
  async #listen(vms: readonly Vm[]): Promise<void> {
    const { card } = this.#host.context;
    if (card.status !== 'ok' || vms.length === 0) return;
    const eniOf = ({ record }: Vm): string | undefined => record.network?.port.eniId;
    const probe = vms.filter(({ watch }) => watch.isSilent).flatMap((vm) => eniOf(vm) ?? []);
    const answer = await card.call('card.heard', { probe }).catch(() => undefined);
    const byPort = new Map<string, Heard>(answer?.ports.map((port) => [port.eniId, port]));
    for (const vm of vms) {
      const heard = byPort.get(eniOf(vm) ?? '');
      if (heard !== undefined) vm.watch.heard(heard);
    }
  }

  #hasRoom({ availableMib }: Room): boolean {
    const { diskReserveMib } = this.#host.context.config;
    return availableMib >= Math.max(1, Math.min(resumeRoomMib, diskReserveMib / 2));
  }

  #tellSpace(vms: readonly Vm[], { availableMib }: Room): void {
    const stopped = vms.filter(({ watch }) => watch.noSpace).map(({ record }) => record.instanceId);
    const full = stopped.length > 0;
    if (full === this.#full) return;
    this.#full = full;
    if (full)
      this.#log.error(
        { alarm: 'disk-full', vms: stopped, availableMib: Math.floor(availableMib) },
        'VMs stand still since this host’s disk is full: make room, and they go on by themselves',
      );
    else
      this.#log.info({ availableMib: Math.floor(availableMib) }, 'no VM waits for room on the disk any more');
  }

  /** In the VM's own turn: a command that came before may have stopped or moved it. */
  #letGoOn(vm: Vm): void {
    const before = this.#resumptions.get(vm);
    const now = monotonicMs();
    if (before !== undefined && now < before.at) return;
    // One that ran for long since waits no longer than the first time.
    const again = before !== undefined && now < before.at + 2 * before.pauseMs;
    const pauseMs = again ? Math.min(2 * before.pauseMs, resumePauseMsMax) : resumePauseMsMin;
    this.#resumptions.set(vm, { at: now + pauseMs, pauseMs });
    vm.queue
      .run(() => goOn(vm))
      .catch((error: unknown) =>
        this.#log.warn(
          { err: error, instanceId: vm.record.instanceId },
          'a VM that found no room did not go on: it is tried again',
        ),
      );
  }
}

/** An answer that comes after the VMM, or its guest, has changed is left to the next look. */
export const lookAt = async (vm: Looked): Promise<void> => {
  const { watch } = vm;
  const { changes } = watch;
  const isOld = (): boolean => watch.changes !== changes;
  try {
    const runState = await runStateOf(vm.monitor, healthAnswerMsMax);
    const noSpace = await standsStillWithoutSpace(vm.monitor, runState);
    if (isOld()) return;
    watch.saw(runState, noSpace);
    if (runState !== 'running') return;
    const used = await processorNanoseconds(vm);
    if (!isOld()) watch.used(used);
  } catch (error) {
    if (PandoError.from(error).code !== 'IncorrectInstanceState' && !isOld()) watch.missed();
  }
};

const goOn = async (vm: Vm): Promise<void> => {
  if (vm.removed || vm.isMoving || vm.record.process === undefined || vm.record.endAsked) return;
  const { monitor } = vm;
  const runState = await runStateOf(monitor);
  if (!(await standsStillWithoutSpace(monitor, runState))) return;
  await monitor.execute('cont');
  vm.context.log.info(
    { instanceId: vm.record.instanceId },
    'there is room on the disk again: the VM goes on',
  );
};
