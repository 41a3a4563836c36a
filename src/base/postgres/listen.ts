/**
 * Hears what the store notifies on a channel (`LISTEN`), on a connection of its own. What was notified while it was away is lost, so
 * `heard` is called after each connect too: listeners look for themselves.
 */
import pg from 'pg';
import { monotonicMs } from '../monotonic.ts';
import { parseStoreUrl } from './addresses.ts';
import * as limits from './limits.ts';

export interface ListenOptions {
  readonly url: string;
  readonly channel: string;
  readonly name?: string;
  /** How long the server has for `LISTEN` itself. */
  readonly queryTimeoutMs?: number;
  /** `payload`: of a notification; undefined after a connect. */
  heard(payload?: string): void;
  onConnectionError?(error: Error): void;
}

/** A channel is written into the statement: nothing but a plain name may be. */
const plainName = /^[a-z_]{1,63}$/;
/** A connection that lasted so long was no failure: the next one is made at once. */
const steadyMs = 10_000;

/** Returns what ends it. */
export const listenStore = (options: ListenOptions): (() => void) => {
  if (!plainName.test(options.channel)) throw new TypeError('a channel is a plain lower-case name');
  const { addresses } = parseStoreUrl(options.url);
  const state = { closed: false, turn: 0, waitMs: limits.reconnectMsMin };
  let client: pg.Client | undefined;
  let timer: NodeJS.Timeout | undefined;

  const again = (error: Error | undefined, sinceMs: number): void => {
    if (state.closed) return;
    if (error !== undefined) options.onConnectionError?.(error);
    state.turn += 1;
    state.waitMs =
      monotonicMs() - sinceMs > steadyMs
        ? limits.reconnectMsMin
        : Math.min(limits.reconnectMsMax, 2 * state.waitMs);
    timer = setTimeout(connect, state.waitMs * (0.5 + Math.random() / 2));
  };

  const connect = (): void => {
    const sinceMs = monotonicMs();
    const own = new pg.Client({
      connectionString: addresses[state.turn % addresses.length]?.url ?? options.url,
      application_name: options.name ?? 'pando-listen',
      connectionTimeoutMillis: limits.connectTimeoutMs,
      query_timeout: options.queryTimeoutMs ?? limits.queryTimeoutMs,
      keepAlive: true,
      keepAliveInitialDelayMillis: limits.keepAliveAfterMs,
    });
    client = own;
    let over = false;
    const end = (error?: Error): void => {
      if (over) return;
      over = true;
      own.end().catch(() => undefined);
      again(error, sinceMs);
    };
    own.on('error', end);
    own.on('end', () => end());
    own.on('notification', ({ payload }) => options.heard(payload ?? ''));
    own
      .connect()
      .then(() => own.query(`listen ${options.channel}`))
      .then(() => options.heard())
      .catch(end);
  };

  connect();
  return () => {
    state.closed = true;
    clearTimeout(timer);
    client?.end().catch(() => undefined);
  };
};
