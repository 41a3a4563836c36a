/**
 * Holding a port's packets for a moment, on their way into the overlay (S7.2). A packet queue works in user space: what takes the
 * direct way overtakes what is still in it. So the source keeps new packets while the queue empties, then lets them go, in order.
 *
 * The overlay device has a class for each held port, with a token bucket of one packet each `heldPacketMs`: the first packet still
 * goes the old way, in order, those after it wait. To let go, the bucket is made wide: it is a FIFO under the device's own lock,
 * so that no packet passes another, which the kernel's queue of an unresolved neighbour does not promise (new packets pass while
 * it is being emptied). It empties with the next packet for anyone, or after `heldPacketMs`.
 */
import type { Logger } from '#base/log.ts';
import { runInside } from './kernel/namespace.ts';
import { heldBytesMax, overlayDevice, portHoldMsMax } from './limits.ts';
import { word } from './model/safe.ts';

interface Hold {
  readonly namespace: string;
  readonly minor: number;
  timer: NodeJS.Timeout;
}

const holdTable = 'ip pando_hold';
const heldPacketMs = 100;
/** Every packet counts as this long; longer than any frame of an overlay over Ethernet. Segments of larger ones are cut before. */
const packetBytes = 2_000;
const heldRate = `rate ${(packetBytes * 1000) / heldPacketMs}bps burst ${packetBytes} mpu ${packetBytes} limit ${heldBytesMax}`;
const openRate = `rate 100gbit burst 100mb limit ${heldBytesMax}`;
/** By then a class that was let go is empty, whether or not packets followed. */
const emptyAfterMs = 3 * heldPacketMs;
const minorMax = 0x7f_ff;

export class Holds {
  readonly #log: Logger;
  readonly #held = new Map<string, Hold>();
  #lastMinor = 0;

  constructor(log: Logger) {
    this.#log = log;
  }

  /** Holds packets to `ip` until `release`, or for `portHoldMsMax`. Held already: goes on for as long again. */
  async hold(namespace: string, eniId: string, ip: string): Promise<void> {
    const known = this.#held.get(eniId);
    if (known !== undefined) clearTimeout(known.timer);
    const minor = known?.minor ?? this.#nextMinor();
    const id = `1:${minor.toString(16)}`;
    await runInside(
      namespace,
      `tc class replace dev ${overlayDevice} parent 1: classid ${id} htb rate 100gbit
tc qdisc replace dev ${overlayDevice} parent ${id} handle ${handleOf(minor)} tbf ${heldRate}
nft -f - <<'END'
add table ${holdTable}
add chain ${holdTable} c${minor} { type filter hook postrouting priority mangle; }
flush chain ${holdTable} c${minor}
add rule ${holdTable} c${minor} oif ${overlayDevice} ip daddr ${word(ip)} meta priority set ${id}
END
`,
    );
    const timer = setTimeout(() => this.#givenUp(eniId), portHoldMsMax).unref();
    this.#held.set(eniId, { namespace, minor, timer });
  }

  /** Lets go what is held; not held: nothing. */
  async release(eniId: string): Promise<void> {
    const hold = this.#held.get(eniId);
    if (hold === undefined) return;
    clearTimeout(hold.timer);
    this.#held.delete(eniId);
    const { namespace, minor } = hold;
    const id = `1:${minor.toString(16)}`;
    await runInside(
      namespace,
      `tc qdisc change dev ${overlayDevice} parent ${id} handle ${handleOf(minor)} tbf ${openRate}\n`,
    );
    setTimeout(() => this.#forget(namespace, minor), emptyAfterMs).unref();
  }

  #givenUp(eniId: string): void {
    this.#log.warn({ eniId }, 'held packets are let go: nobody asked for it in time');
    this.release(eniId).catch((error: unknown) => this.#log.error({ err: error, eniId }, 'letting go'));
  }

  /** The namespace may be gone by now. */
  #forget(namespace: string, minor: number): void {
    runInside(
      namespace,
      `nft delete chain ${holdTable} c${minor} || true
tc class del dev ${overlayDevice} classid 1:${minor.toString(16)}
`,
    ).catch((error: unknown) => this.#log.debug({ err: error, namespace }, 'after a hold'));
  }

  #nextMinor(): number {
    this.#lastMinor = (this.#lastMinor % minorMax) + 1;
    return this.#lastMinor;
  }
}

/** Of the class's own queue; 1: is the device's. */
const handleOf = (minor: number): string => `${(minor + 1).toString(16)}:`;

/** Lets go whatever an earlier process held in the namespace. */
export const endHolds = (namespace: string): Promise<string> =>
  runInside(
    namespace,
    `nft delete table ${holdTable} 2>/dev/null || true
for id in $(tc class show dev ${overlayDevice} | sed -n 's/^class htb \\(1:[0-9a-f]*\\) .*/\\1/p'); do
  tc class del dev ${overlayDevice} classid "$id"
done
`,
  );
