/**
 * What is known of how one guest is (contracts/host.ts, `vmHealth`): gathered from the VMM's events, from looks at it, and from what the
 * card has heard. Facts alone; who judges them is the cell. It lives in memory: after a restart of the agent less is known, never
 * something wrong, and what was judged before is in the cell's store.
 */
import { monotonicMs } from '#base/monotonic.ts';
import type { VmHealth } from '#contracts/host.ts';
import { looksMissedMax, resetFollowsMsMax, resetsRememberedMax, resetsWithinMs } from './limits.ts';
import type { QmpEvent } from './qmp.ts';

/** What the card has heard of a port; ages in milliseconds. */
export interface Heard {
  readonly listenedMs: number;
  readonly dhcpMs?: number | undefined;
  readonly metadataMs?: number | undefined;
  readonly arpMs?: number | undefined;
}

const stateEvents: ReadonlySet<string> = new Set(['BLOCK_IO_ERROR', 'STOP', 'RESUME', 'RESET']);

export class GuestWatch {
  readonly #now: () => number;
  #runState: string | undefined;
  /** The VMM has said how it is, or has been asked in vain often enough. */
  #isKnown = false;
  #changes = 0;
  #missed = 0;
  #noSpace = false;
  /** Since when this host can know of the guest: its boot, or when it came to it. */
  #since: number;
  #bootSeen = false;
  #resetsAt: number[] = [];
  #lastReset: { readonly at: number; followed: boolean } | undefined;
  #heardAt: number | undefined;
  /** The last time that the card told anything, and since when it had listened then. */
  #listened: { readonly at: number; readonly from: number } | undefined;
  #processors:
    | { readonly nanoseconds: number; readonly movedAt: number; readonly seenAt: number }
    | undefined;

  constructor(now: () => number = monotonicMs) {
    this.#now = now;
    this.#since = now();
  }

  /** The VMM stands still since a write found no room. */
  get noSpace(): boolean {
    return this.#noSpace;
  }

  /** Grows whenever the VMM says by itself that its state has changed: what it was asked for before that says nothing of now. */
  get changes(): number {
    return this.#changes;
  }

  /** Nothing has been heard of the guest that the card could not have heard before: it is worth asking it. */
  get isSilent(): boolean {
    return this.#heardAt === undefined;
  }

  /** Another VMM, another host's guest, or a new agent: what is known begins here. */
  found(): void {
    this.#begin();
    this.#bootSeen = false;
    this.#resetsAt = [];
    this.#runState = undefined;
    this.#isKnown = false;
    this.#missed = 0;
    this.#noSpace = false;
    this.#changes++;
  }

  /** The guest boots now. */
  booted(): void {
    this.#begin();
    this.#bootSeen = true;
  }

  #begin(): void {
    this.#since = this.#now();
    this.#heardAt = undefined;
    this.#processors = undefined;
  }

  onEvent({ name, data }: QmpEvent): void {
    if (stateEvents.has(name)) this.#changes++;
    switch (name) {
      case 'BLOCK_IO_ERROR':
        this.#noSpace ||= data.nospace === true && data.action === 'stop';
        break;
      case 'STOP':
        // The next look says it more exactly.
        this.saw(this.#noSpace ? 'io-error' : 'paused');
        break;
      case 'RESUME':
        this.saw('running');
        break;
      case 'RESET':
        this.#countReset(data.guest === true);
        this.#noSpace = false;
        this.booted();
        break;
    }
  }

  /** The firmware may follow a reset by another one of its own: the two are one. */
  #countReset(byGuest: boolean): void {
    const at = this.#now();
    const last = this.#lastReset;
    if (last !== undefined && !last.followed && at - last.at < resetFollowsMsMax) {
      last.followed = true;
      return;
    }
    this.#lastReset = { at, followed: false };
    if (byGuest) this.#resetsAt = [...this.#resetsAt, at].slice(-resetsRememberedMax);
  }

  /** What the VMM says of itself. `noSpace`: of one that stands still on an error of its disk. */
  saw(runState: string, noSpace?: boolean): void {
    this.#runState = runState;
    this.#isKnown = true;
    this.#missed = 0;
    if (runState === 'running') this.#noSpace = false;
    else if (noSpace !== undefined) this.#noSpace = noSpace;
    // Time in which it could not run is none in which it did nothing.
    if (runState !== 'running') this.#processors = undefined;
  }

  /** The VMM was asked and did not answer in time. A busy machine misses one look: several in a row are told. */
  missed(): void {
    this.#missed++;
    if (this.#missed < looksMissedMax) return;
    this.#runState = undefined;
    this.#isKnown = true;
    this.#processors = undefined;
  }

  /** The time that the guest's processors have used so far. */
  used(nanoseconds: number): void {
    const seenAt = this.#now();
    const before = this.#processors;
    const moved = before === undefined || nanoseconds > before.nanoseconds;
    this.#processors = { nanoseconds, movedAt: moved ? seenAt : before.movedAt, seenAt };
  }

  heard({ listenedMs, dhcpMs, metadataMs, arpMs }: Heard): void {
    const now = this.#now();
    this.#listened = { at: now, from: now - listenedMs };
    const ages = [dhcpMs, metadataMs, arpMs].filter((age) => age !== undefined);
    if (ages.length === 0) return;
    const at = now - Math.min(...ages);
    // What was heard before a boot that was seen says nothing of the guest since.
    if (!this.#bootSeen || at >= this.#since) this.#heardAt = at;
  }

  /** Undefined: nothing is known yet of this VMM. */
  health(): VmHealth | undefined {
    if (!this.#isKnown) return undefined;
    const now = this.#now();
    const listened = this.#listened;
    return {
      ...(this.#runState === undefined ? {} : { runState: this.#runState.slice(0, 32) }),
      noSpace: this.#noSpace,
      bootSeen: this.#bootSeen,
      resets: this.#resetsAt.filter((at) => now - at < resetsWithinMs).length,
      ...(listened === undefined
        ? {}
        : {
            configured: this.#heardAt !== undefined,
            listenedMs: Math.max(0, listened.at - Math.max(this.#since, listened.from)),
          }),
      ...(this.#processors === undefined
        ? {}
        : { stalledMs: this.#processors.seenAt - this.#processors.movedAt }),
    };
  }
}
