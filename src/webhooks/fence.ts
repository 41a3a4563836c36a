/**
 * Whether the kernel keeps this process from the networks of the region. It tries: an address there that answers, if only to refuse, is
 * reached. So a table of nftables that somebody has flushed is noticed, and nothing is sent until it is back.
 */
import { connect } from 'node:net';
import type { Logger } from '#base/log.ts';
import { monotonicMs } from '#base/monotonic.ts';

export interface Endpoint {
  readonly host: string;
  readonly port: number;
}

const tryTimeoutMs = 1_000;
/** For how long what was found counts. */
const freshMs = 5_000;

/** Whether anything of that address comes back. */
export const isReached = ({ host, port }: Endpoint): Promise<boolean> =>
  new Promise((resolve) => {
    const socket = connect({ host, port });
    const end = (reached: boolean): void => {
      socket.destroy();
      resolve(reached);
    };
    socket.setTimeout(tryTimeoutMs, () => end(false));
    socket.once('connect', () => end(true));
    socket.once('error', (error: NodeJS.ErrnoException) =>
      end(error.code === 'ECONNREFUSED' || error.code === 'ECONNRESET'),
    );
  });

export class Fence {
  readonly #from: Endpoint;
  readonly #log: Logger;
  #found: { readonly closed: Promise<boolean>; readonly atMs: number } | undefined;

  constructor(from: Endpoint, log: Logger) {
    this.#from = from;
    this.#log = log;
  }

  closed(): Promise<boolean> {
    const now = monotonicMs();
    if (this.#found === undefined || now - this.#found.atMs > freshMs)
      this.#found = { closed: this.#look(), atMs: now };
    return this.#found.closed;
  }

  async #look(): Promise<boolean> {
    const reached = await isReached(this.#from);
    if (reached)
      this.#log.error(
        { reached: this.#from },
        'ALARM: the webhook sender reaches the region’s networks, and sends nothing: pando up puts its fence back',
      );
    return !reached;
  }
}
