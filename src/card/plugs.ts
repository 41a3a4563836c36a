/**
 * Plugs: a port's packets are kept back for a moment (S7.2). A packet queue works in user space: what takes the direct way overtakes
 * what is still in it. So whoever sends to the port keeps new packets while the queue empties, then lets them go, in order: the source of a
 * migration on its overlay device, the target on the port's tap those of its own VMs.
 *
 * The device has a class for each plugged port, with a token bucket of one packet each `pluggedPacketMs`: the first packet still goes on,
 * those after it wait. (On a tap that first one may overtake a packet or two that are on their way through the source: this kernel has
 * nothing that holds all.) To let go, the bucket is made wide: it is a FIFO under the device's own lock, so that no packet
 * passes another, which the kernel's queue of an unresolved neighbour does not promise (new packets pass while it is being
 * emptied). It empties with the next packet for anyone, or after `pluggedPacketMs`.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { z } from 'zod';
import type { Logger } from '#base/log.ts';
import { monotonicMs } from '#base/monotonic.ts';
import { batchInside, runInside } from './kernel/namespace.ts';
import { overlayDevice, pluggedBytesMax, portPlugMsMax } from './limits.ts';
import { word } from './model/safe.ts';

/** Where packets for a port pass on their way out of the namespace. */
export interface Outlet {
  readonly namespace: string;
  /** Its root discipline has classes. */
  readonly device: string;
  /** Which packets: an expression of nftables. */
  readonly match: string;
}

interface Plug {
  readonly outlet: Outlet;
  readonly minor: number;
  readonly timer: NodeJS.Timeout;
}

/** What goes over the overlay to an address. */
export const toOverlay = (namespace: string, ip: string): Outlet => ({
  namespace,
  device: overlayDevice,
  match: `oif ${overlayDevice} ip daddr ${word(ip)}`,
});

/** What goes to a tap without having come over the overlay. */
export const toTap = (namespace: string, tap: string): Outlet => ({
  namespace,
  device: word(tap),
  match: `oifname "${word(tap)}" iifname != "${overlayDevice}"`,
});

/** The name that the last release gave it: a card that takes over finds its plugs by it. */
const plugTable = 'ip pando_plug';
/** Of the last release, which may have died with plugs in it. */
const formerPlugTable = 'ip pando_hold';
const pluggedPacketMs = 100;
/** Every packet counts as this long; longer than any frame of an overlay over Ethernet. Segments of larger ones are cut before. */
const packetBytes = 2_000;
const pluggedRate = `rate ${(packetBytes * 1000) / pluggedPacketMs}bps burst ${packetBytes} mpu ${packetBytes} limit ${pluggedBytesMax}`;
const openRate = `rate 100gbit burst 100mb limit ${pluggedBytesMax}`;
/** By then a class that was let go is empty, whether or not packets followed. */
const emptyAfterMs = 3 * pluggedPacketMs;
const emptyPollMs = 20;
const minorMax = 0x7f_ff;
const queues = z.array(z.object({ handle: z.string(), qlen: z.number() }));

export class Plugs {
  readonly #log: Logger;
  readonly #plugs = new Map<string, Plug>();
  #lastMinor = 0;

  constructor(log: Logger) {
    this.#log = log;
  }

  /** Keeps packets of the port back at the outlet until `release`, or for `portPlugMsMax`. Plugged there already: for as long again. */
  async plug(eniId: string, outlet: Outlet): Promise<void> {
    if (this.#plugs.get(eniId)?.outlet.device !== outlet.device) await this.release(eniId);
    const known = this.#plugs.get(eniId);
    if (known !== undefined) clearTimeout(known.timer);
    const minor = known?.minor ?? this.#nextMinor();
    const { namespace, device, match } = outlet;
    const id = classOf(minor);
    await batchInside(namespace, 'tc', [
      `class replace dev ${device} parent 1: classid ${id} htb rate 100gbit`,
      `qdisc replace dev ${device} parent ${id} handle ${handleOf(minor)} tbf ${pluggedRate}`,
    ]);
    await runInside(
      namespace,
      `nft -f - <<'END'
add table ${plugTable}
add chain ${plugTable} c${minor} { type filter hook postrouting priority mangle; }
flush chain ${plugTable} c${minor}
add rule ${plugTable} c${minor} ${match} meta priority set ${id}
END
`,
    );
    const timer = setTimeout(() => this.#givenUp(eniId), portPlugMsMax).unref();
    this.#plugs.set(eniId, { outlet, minor, timer });
  }

  /** Lets go what is kept back, and resolves when all of it is on its way; not plugged: nothing. */
  async release(eniId: string): Promise<void> {
    const plug = this.#plugs.get(eniId);
    if (plug === undefined) return;
    clearTimeout(plug.timer);
    this.#plugs.delete(eniId);
    const { outlet, minor } = plug;
    await batchInside(outlet.namespace, 'tc', [opened(outlet.device, classOf(minor), handleOf(minor))]);
    await emptied(outlet, minor);
    this.#forget(outlet, minor);
  }

  #givenUp(eniId: string): void {
    this.#log.warn({ eniId }, 'packets that were kept back are let go: nobody asked for it in time');
    this.release(eniId).catch((error: unknown) => this.#log.error({ err: error, eniId }, 'letting go'));
  }

  /** The namespace may be gone by now. */
  #forget({ namespace, device }: Outlet, minor: number): void {
    runInside(namespace, `nft delete chain ${plugTable} c${minor} || true\n`)
      .then(() => batchInside(namespace, 'tc', [`class del dev ${device} classid ${classOf(minor)}`]))
      .catch((error: unknown) => this.#log.debug({ err: error, namespace }, 'after a plug'));
  }

  #nextMinor(): number {
    this.#lastMinor = (this.#lastMinor % minorMax) + 1;
    return this.#lastMinor;
  }
}

const classOf = (minor: number): string => `1:${minor.toString(16)}`;
/** Of the class's own queue; 1: is the device's. */
const handleOf = (minor: number): string => `${(minor + 1).toString(16)}:`;

const opened = (device: string, parent: string, handle: string): string =>
  `qdisc change dev ${device} parent ${parent} handle ${handle} tbf ${openRate}`;

const emptied = async ({ namespace, device }: Outlet, minor: number): Promise<void> => {
  const until = monotonicMs() + emptyAfterMs;
  while (monotonicMs() < until) {
    const shown = JSON.parse(await batchInside(namespace, 'tc', [`qdisc show dev ${device}`]));
    const own = queues.parse(shown).find(({ handle }) => handle === handleOf(minor));
    if (own === undefined || own.qlen === 0) return;
    await sleep(emptyPollMs);
  }
};

/** Removes the plugs of an earlier process in the namespace. */
export const removePlugs = (namespace: string): Promise<string> =>
  runInside(
    namespace,
    `nft delete table ${plugTable} 2>/dev/null || true
nft delete table ${formerPlugTable} 2>/dev/null || true
plugged=$(tc qdisc show | sed -n 's/^qdisc tbf \\([0-9a-f]*:\\) dev \\([^ ]*\\) parent \\(1:[0-9a-f]*\\) .*/\\1 \\2 \\3/p')
[ -n "$plugged" ] || exit 0
echo "$plugged" | while read -r handle device parent; do
  tc ${opened('$device', '$parent', '$handle')}
done
sleep ${emptyAfterMs / 1000}
echo "$plugged" | while read -r handle device parent; do tc class del dev $device classid $parent; done
`,
  );
