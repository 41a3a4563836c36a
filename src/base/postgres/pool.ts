/**
 * The connections of a process to its store, which may be several servers of which one takes writes.
 *
 * Kept connections go to the server that last worked. When it fails, the others are tried in the order of the URL; when none works,
 * rounds over all of them follow at growing, jittered intervals, one connection at a time, while callers wait a bounded time.
 */

import type { PostgresPool } from 'kysely';
import { PandoError } from '#contracts/errors.ts';
import { metrics, onCollect } from '../metrics.ts';
import { monotonicMs } from '../monotonic.ts';
import { withTrace } from '../trace.ts';
import { assertOutsideTransaction } from '../transactionScope.ts';
import { parseStoreUrl, type StoreAddress, type StoreUrl } from './addresses.ts';
import { type ConnectionOptions, StoreConnection } from './connection.ts';
import { ConnectionLost, refusedError, sqlStateOf, storeError, storeFaultOf } from './faults.ts';
import * as limits from './limits.ts';
import { patience } from './patience.ts';

export interface StorePoolOptions {
  /** See `addresses.ts`. */
  readonly url: string;
  /** Connections at most. Default `poolMaxDefault`. */
  readonly poolMax?: number;
  /** Shown in `pg_stat_activity`. */
  readonly name?: string;
  /** Told of each connection that broke, and of each round in which no server could be reached. */
  onConnectionError?(error: Error): void;
  /** Told of each statement that the server had no room for. */
  onFull?(error: unknown): void;
  readonly connectTimeoutMs?: number;
  readonly statementTimeoutMs?: number;
  readonly queryTimeoutMs?: number;
  readonly acquireTimeoutMs?: number;
  readonly acquireTimeoutDownMs?: number;
  readonly checkAfterIdleMs?: number;
  readonly checkTimeoutMs?: number;
  readonly reconnectMsMax?: number;
}

interface Waiter {
  readonly timer: NodeJS.Timeout;
  readonly sinceMs: number;
  resolve(connection: StoreConnection): void;
  reject(error: unknown): void;
}

export class StorePool implements PostgresPool {
  readonly options = {};
  readonly #settings: StorePoolOptions;
  readonly #store: StoreUrl;
  readonly #max: number;
  readonly #live = new Set<StoreConnection>();
  readonly #idle: StoreConnection[] = [];
  readonly #waiters: Waiter[] = [];
  #opening = 0;
  /** Idle connections that are being asked whether they still work. */
  #checking = 0;
  /** Index of the address that last worked. */
  #preferred = 0;
  #failures = 0;
  #lastError: unknown;
  #retryAt = 0;
  #retryTimer: NodeJS.Timeout | undefined;
  /** Connections that last answered before this moment are asked before they are used. */
  #trustedSince = 0;
  #sweep: NodeJS.Timeout | undefined;
  #ended: PromiseWithResolvers<void> | undefined;
  readonly #uncollect: () => void;

  constructor(settings: StorePoolOptions) {
    this.#settings = settings;
    this.#store = parseStoreUrl(settings.url);
    this.#max = settings.poolMax ?? limits.poolMaxDefault;
    this.#uncollect = onCollect(() => {
      metrics.storeWaiting.set(this.#waiters.length);
      metrics.storeConnections.set({ state: 'idle' }, this.#idle.length);
      metrics.storeConnections.set({ state: 'busy' }, this.#live.size - this.#idle.length);
    });
  }

  /** Rounds over all addresses that failed one after another; 0: the store answers. */
  get failures(): number {
    return this.#failures;
  }

  /** A connection that its server has answered on lately. @throws Unavailable when there is none in time. */
  connect(): Promise<StoreConnection> {
    assertOutsideTransaction('a second connection to the store');
    if (this.#ended !== undefined) return Promise.reject(new Error('the pool has been closed'));
    if (this.#waiters.length >= limits.waitersMax)
      return Promise.reject(new PandoError('Unavailable', 'Too many requests wait for the database.'));
    const ready = this.#waiters.length === 0 ? this.#takeTrusted() : undefined;
    if (ready !== undefined) {
      metrics.storeWaitSeconds.observe(0);
      return Promise.resolve(ready);
    }
    return new Promise((resolve, reject) => {
      const waiter: Waiter = {
        resolve,
        reject,
        sinceMs: monotonicMs(),
        timer: setTimeout(() => this.#expire(waiter), this.#patienceMs()),
      };
      if (patience().urgent) this.#waiters.unshift(waiter);
      else this.#waiters.push(waiter);
      this.#pump();
    });
  }

  /** Runs one statement, a transaction of its own, on a connection that it has to itself; answers its rows. */
  async run<Row>(text: string, values: readonly unknown[] = []): Promise<Row[]> {
    const connection = await this.connect();
    try {
      return (await connection.query<Row>(text, values)).rows;
    } finally {
      connection.release();
    }
  }

  /** Closes what is idle at once, and what is in use when it comes back. */
  end(): Promise<void> {
    if (this.#ended === undefined) {
      this.#ended = Promise.withResolvers();
      clearTimeout(this.#retryTimer);
      clearInterval(this.#sweep);
      this.#uncollect();
      for (const waiter of this.#waiters.splice(0))
        this.#settle(waiter).reject(new Error('the pool has been closed'));
      for (const connection of this.#idle.splice(0)) void connection.close();
      this.#finish();
    }
    return this.#ended.promise;
  }

  #patienceMs(): number {
    return this.#failures >= limits.downAfterFailures
      ? (this.#settings.acquireTimeoutDownMs ?? limits.acquireTimeoutDownMs)
      : (this.#settings.acquireTimeoutMs ?? limits.acquireTimeoutMs);
  }

  #settle(waiter: Waiter): Waiter {
    clearTimeout(waiter.timer);
    return waiter;
  }

  #expire(waiter: Waiter): void {
    const at = this.#waiters.indexOf(waiter);
    if (at < 0) return;
    this.#waiters.splice(at, 1);
    metrics.storeErrors.inc({ kind: 'no-connection-in-time' });
    const cause = this.#failures > 0 ? this.#lastError : undefined;
    waiter.reject(storeError(new ConnectionLost('no connection to the store in time', { cause })));
  }

  /** Gives idle connections to those who wait, and makes new ones as far as that is allowed just now. */
  #pump(): void {
    while (this.#waiters.length > this.#checking) {
      const connection = this.#idle.pop();
      if (connection === undefined) break;
      if (!this.#isTrusted(connection)) void this.#check(connection);
      else {
        const waiter = this.#waiters.shift();
        if (waiter !== undefined) this.#settle(waiter).resolve(connection);
        if (waiter !== undefined) metrics.storeWaitSeconds.observe((monotonicMs() - waiter.sinceMs) / 1000);
      }
    }
    this.#grow();
  }

  /** An idle connection that need not be asked first: nobody waits, so nobody is passed over. */
  #takeTrusted(): StoreConnection | undefined {
    const last = this.#idle.at(-1);
    return last !== undefined && this.#isTrusted(last) ? this.#idle.pop() : undefined;
  }

  #isTrusted(connection: StoreConnection): boolean {
    const { checkAfterIdleMs = limits.checkAfterIdleMs } = this.#settings;
    const since = Math.max(this.#trustedSince, monotonicMs() - checkAfterIdleMs);
    return connection.answeredAt >= since;
  }

  /** Those who wait stay in line meanwhile: their time may run out, or another connection be free first. */
  async #check(connection: StoreConnection): Promise<void> {
    this.#checking++;
    const error = await connection.check().then(
      () => undefined,
      (failure: unknown) => failure,
    );
    this.#checking--;
    if (error !== undefined) {
      this.#distrust(error);
      connection.discard();
    }
    this.#offer(connection);
  }

  #grow(): void {
    if (this.#ended !== undefined) return;
    const waitMs = this.#retryAt - monotonicMs();
    if (this.#failures > 0 && waitMs > 0) {
      if (this.#waiters.length > 0) this.#retryTimer ??= setTimeout(() => this.#retry(), waitMs);
      return;
    }
    // While the store is away, one connection at a time finds out whether it is back.
    const atOnce = this.#failures > 0 ? 1 : limits.openingMax;
    const room = Math.min(atOnce, this.#max - this.#live.size) - this.#opening;
    const wanted = Math.min(this.#waiters.length - this.#opening - this.#checking, room);
    // A connection outlives the request that needed one more: what its socket tells later is not of that request.
    for (let n = 0; n < wanted; n++) void withTrace(undefined, () => this.#open());
  }

  #retry(): void {
    this.#retryTimer = undefined;
    this.#pump();
  }

  async #open(): Promise<void> {
    this.#opening++;
    try {
      const connection = await this.#openAny();
      this.#opening--;
      this.#failures = 0;
      this.#offer(connection);
    } catch (error) {
      this.#opening--;
      this.#roundFailed(error);
    }
  }

  /** The address that last worked, then the others. Rejects with the last one's error. */
  async #openAny(): Promise<StoreConnection> {
    const { addresses } = this.#store;
    const first = this.#preferred;
    let failure: unknown;
    for (let n = 0; n < addresses.length && this.#ended === undefined; n++) {
      const at = (first + n) % addresses.length;
      const address = addresses[at];
      if (address === undefined) break;
      try {
        const connection = await this.#openAt(address);
        this.#preferred = at;
        return connection;
      } catch (error) {
        failure = new Error(`${address.shown}: ${error instanceof Error ? error.message : 'failed'}`, {
          cause: error,
        });
      }
    }
    throw failure ?? new ConnectionLost('the pool has been closed');
  }

  async #openAt(address: StoreAddress): Promise<StoreConnection> {
    const set = this.#settings;
    const options: ConnectionOptions = {
      url: address.url,
      name: set.name ?? 'pando',
      writable: this.#store.writable,
      connectTimeoutMs: set.connectTimeoutMs ?? limits.connectTimeoutMs,
      statementTimeoutMs: set.statementTimeoutMs ?? limits.statementTimeoutMs,
      queryTimeoutMs: set.queryTimeoutMs ?? limits.queryTimeoutMs,
      checkTimeoutMs: set.checkTimeoutMs ?? limits.checkTimeoutMs,
    };
    const connection = await StoreConnection.open(options, {
      released: (one) => this.#offer(one),
      ended: (one, error) => this.#onEnded(one, error),
      full: (error) => this.#settings.onFull?.(error),
    });
    if (connection.usable) this.#live.add(connection);
    else throw new ConnectionLost('it ended at once');
    return connection;
  }

  #roundFailed(error: unknown): void {
    this.#failures++;
    this.#lastError = error;
    metrics.storeErrors.inc({ kind: 'connect-failed' });
    const cap = Math.min(
      this.#settings.reconnectMsMax ?? limits.reconnectMsMax,
      limits.reconnectMsMin * 2 ** this.#failures,
    );
    // Jitter: processes that lost the store together do not come back to it together.
    this.#retryAt = monotonicMs() + cap * (0.5 + Math.random() / 2);
    if (this.#ended !== undefined) {
      this.#finish();
      return;
    }
    this.#settings.onConnectionError?.(error instanceof Error ? error : new Error(String(error)));
    // A wrong password or database does not pass by waiting: all that wait are told at once.
    if (isRefusal(error))
      for (const waiter of this.#waiters.splice(0)) this.#settle(waiter).reject(refusedError(error));
    this.#pump();
  }

  #offer(connection: StoreConnection): void {
    if (this.#ended !== undefined) {
      void connection.close();
      this.#finish();
      return;
    }
    if (connection.usable) {
      this.#idle.push(connection);
      this.#sweep ??= setInterval(() => this.#closeOld(), limits.idleConnectionMs / 2).unref();
    }
    this.#pump();
  }

  #closeOld(): void {
    const before = monotonicMs() - limits.idleConnectionMs;
    for (const connection of [...this.#idle])
      if (connection.answeredAt < before) {
        this.#idle.splice(this.#idle.indexOf(connection), 1);
        void connection.close();
      }
  }

  #onEnded(connection: StoreConnection, error: Error | undefined): void {
    if (!this.#live.delete(connection)) return;
    const at = this.#idle.indexOf(connection);
    if (at >= 0) this.#idle.splice(at, 1);
    if (error !== undefined) {
      metrics.storeErrors.inc({ kind: 'connection-lost' });
      this.#distrust(error);
      if (this.#ended === undefined) this.#settings.onConnectionError?.(error);
    }
    if (this.#ended !== undefined) this.#finish();
    else this.#pump();
  }

  /** One connection of a server that went away, or takes no more writes, speaks for the others. */
  #distrust(error: unknown): void {
    const fault = storeFaultOf(error);
    if (fault === 'read-only' || fault === 'away') this.#trustedSince = monotonicMs();
  }

  #finish(): void {
    if (this.#ended !== undefined && this.#live.size === 0 && this.#opening === 0) this.#ended.resolve();
  }
}

/** Invalid authorization (28xxx), no such database (3D000), no such role: none of them is a matter of time. */
const isRefusal = (error: unknown): boolean => /^(28|3D)/.test(sqlStateOf(error) ?? '');
