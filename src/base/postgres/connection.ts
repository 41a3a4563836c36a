/** One connection to one server of a store: bounded in time, thrown away as soon as it cannot be trusted. */

import { Socket } from 'node:net';
import type { PostgresCursor, PostgresPoolClient, PostgresQueryResult } from 'kysely';
import pg from 'pg';
import { monotonicMs } from '../monotonic.ts';
import { ConnectionLost, storeError, storeFaultOf, unknownOutcome } from './faults.ts';
import * as limits from './limits.ts';
import { patience } from './patience.ts';
import { type Answer, beginText, commitText, type Joined, queryPrepared } from './prepared.ts';

export interface ConnectionOptions {
  readonly url: string;
  readonly name: string;
  /** Whether a server that takes no writes is refused. */
  readonly writable: boolean;
  readonly connectTimeoutMs: number;
  readonly statementTimeoutMs: number;
  readonly queryTimeoutMs: number;
  readonly checkTimeoutMs: number;
}

export interface ConnectionEvents {
  /** The caller has done with it. */
  released(connection: StoreConnection): void;
  /** It ended, or was thrown away: `error` says why, if for a fault. Told once. */
  ended(connection: StoreConnection, error: Error | undefined): void;
  /** Its server could not store something for want of room. */
  full(error: unknown): void;
}

/** Statement text → the name under which connections prepare it. Texts are constants of the program, so few. */
const preparedNames = new Map<string, string>();

const nameOf = (text: string): string | undefined => {
  const known = preparedNames.get(text);
  if (known !== undefined || preparedNames.size >= limits.preparedTextsMax) return known;
  const name = `s${preparedNames.size}`;
  preparedNames.set(text, name);
  return name;
};

/** Without values a text may be several statements, or one that is never prepared. What is asked each second is not planned anew each time. */
const isOneStatement = /^\s*(?:select|with|insert|update|delete)\b[^;]*$/i;

/** `bigint` counters and sizes arrive as numbers: ours stay far below 2^53. */
const types: pg.CustomTypesConfig = {
  getTypeParser: ((oid: number, format?: 'text' | 'binary') =>
    oid === pg.types.builtins.INT8
      ? Number
      : pg.types.getTypeParser(oid, format)) as typeof pg.types.getTypeParser,
};

const rollbackText = 'rollback';
/** The server answers ROLLBACK, and no error, to a COMMIT of a transaction in which a statement failed whose error nobody passed on. */
const assertCommitted = ({ command }: Pick<Answer, 'command'>): void => {
  if (command === 'ROLLBACK')
    throw new Error('the transaction was rolled back: a statement before its COMMIT has failed');
};
/** What a BEGIN, COMMIT or ROLLBACK answers that the server need not hear of. */
const nothingDone = <R>(): PostgresQueryResult<R> => ({ command: 'ROLLBACK', rowCount: 0, rows: [] });

/**
 * Statements that are given together travel together: what is asked for before the first answer is awaited goes out in one write, and
 * the server works through it without waiting for us. BEGIN waits for the first statement of its transaction.
 */
export class StoreConnection implements PostgresPoolClient {
  readonly #client: pg.Client;
  readonly #socket: Socket;
  readonly #options: ConnectionOptions;
  readonly #events: ConnectionEvents;
  #ended = false;
  /** A transaction was begun of which the server knows nothing yet: nor that it has long been idle, so this ends it then. */
  #beginDue: NodeJS.Timeout | undefined;
  /** BEGIN and COMMIT, once each of them has run here by itself and is prepared. */
  readonly #prepared = new Set<string>();
  #corked = false;
  /** Monotonic: when its server last answered. */
  answeredAt = monotonicMs();

  private constructor(
    client: pg.Client,
    socket: Socket,
    options: ConnectionOptions,
    events: ConnectionEvents,
  ) {
    this.#client = client;
    this.#socket = socket;
    this.#options = options;
    this.#events = events;
  }

  /** Connects and asks whether the server takes writes. Rejects with `ConnectionLost` or the server's own error. */
  static async open(options: ConnectionOptions, events: ConnectionEvents): Promise<StoreConnection> {
    const socket = new Socket();
    socket.setKeepAlive(true, limits.keepAliveAfterMs);
    const client = new pg.Client({
      connectionString: options.url,
      application_name: options.name,
      statement_timeout: options.statementTimeoutMs,
      idle_in_transaction_session_timeout: limits.idleInTransactionTimeoutMs,
      stream: () => socket,
      pipeline: true,
      types,
    });
    const connection = new StoreConnection(client, socket, options, events);
    // For the whole life of the connection: an `error` event without a listener would end the process.
    client.on('error', (error) => connection.#end(error));
    client.on('end', () => connection.#end(undefined));
    try {
      await connection.#within(options.connectTimeoutMs, client.connect());
      await connection.check();
    } catch (error) {
      connection.#end(undefined);
      throw error;
    }
    return connection;
  }

  get usable(): boolean {
    return !this.#ended;
  }

  /** Whether its server answers, and still takes writes. @throws otherwise, and ends the connection. */
  async check(): Promise<void> {
    const asked = this.#client.query<{ transaction_read_only: string }>('show transaction_read_only');
    const { rows } = await this.#within(this.#options.checkTimeoutMs, asked);
    if (this.#options.writable && rows[0]?.transaction_read_only !== 'off') {
      const error = Object.assign(new Error('the server takes no writes: it is in recovery, or read-only'), {
        code: '25006',
      });
      this.#end(error);
      throw error;
    }
    this.answeredAt = monotonicMs();
  }

  query<R>(sql: string, parameters: ReadonlyArray<unknown>): Promise<PostgresQueryResult<R>>;
  query<R>(cursor: PostgresCursor<R>): PostgresCursor<R>;
  query<R>(
    sql: string | PostgresCursor<R>,
    parameters: ReadonlyArray<unknown> = [],
  ): Promise<PostgresQueryResult<R>> | PostgresCursor<R> {
    if (typeof sql !== 'string') throw new TypeError('cursors are not used');
    return this.#run<R>(sql, parameters);
  }

  release(destroy = false): void {
    if (destroy) this.#end(undefined);
    this.#events.released(this);
  }

  /** Says good-bye to the server, and does not wait long for it. */
  async close(): Promise<void> {
    if (this.#ended) return;
    const closed = this.#client.end().catch(() => undefined);
    await this.#within(limits.closeTimeoutMs, closed).catch(() => undefined);
    this.#end(undefined);
  }

  /** Ends it at once. Its server rolls back what was not committed when it notices. */
  discard(error?: Error): void {
    this.#end(error);
  }

  /**
   * A transaction's last statement, in one message with COMMIT. @throws what the statement failed for, and then the transaction is to be
   * rolled back; UnknownOutcome where no answer came
   */
  async commit(text: string, values: ReadonlyArray<unknown>): Promise<void> {
    const name = nameOf(text);
    if (name !== undefined && this.#prepared.has(commitText)) {
      await this.#run(text, values, true);
      return;
    }
    await this.#run(text, values);
    await this.#run(commitText, []);
  }

  async #run<R>(
    text: string,
    values: ReadonlyArray<unknown>,
    commit = false,
  ): Promise<PostgresQueryResult<R>> {
    if (this.#ended) {
      // What was begun on a connection that ended is rolled back by the server: the first error is the one to tell.
      if (text === rollbackText) return nothingDone();
      throw storeError(new ConnectionLost('the connection has ended'));
    }
    if (text === beginText && this.#prepared.has(beginText)) {
      this.#beginDue = setTimeout(
        () => this.#end(new ConnectionLost('nothing was asked for in a transaction')),
        limits.idleInTransactionTimeoutMs,
      );
      return nothingDone();
    }
    const begin = this.#beginDue !== undefined;
    clearTimeout(this.#beginDue);
    this.#beginDue = undefined;
    // Nothing was asked for in between.
    if (begin && (text === commitText || text === rollbackText)) return nothingDone();
    try {
      const sent = this.#send(text, values, { begin, commit });
      const result = await this.#within(patience().queryTimeoutMs ?? this.#options.queryTimeoutMs, sent);
      this.answeredAt = monotonicMs();
      if (text === beginText || text === commitText) this.#prepared.add(text);
      if (text === commitText) assertCommitted(result);
      return result as unknown as PostgresQueryResult<R>;
    } catch (error) {
      throw this.#judge(error, commit || text === commitText);
    }
  }

  #send(text: string, values: ReadonlyArray<unknown>, joined: Joined): Promise<Answer> {
    this.#cork();
    if (text === beginText || text === commitText) return this.#client.query({ name: text, text });
    const mayPrepare = values.length > 0 || joined.begin || joined.commit || isOneStatement.test(text);
    const name = mayPrepare ? nameOf(text) : undefined;
    const statement = { text, values: [...values] };
    if (name !== undefined) return queryPrepared(this.#client, { ...statement, name }, joined);
    if (!joined.begin && !joined.commit) return this.#client.query(statement);
    // There are more texts than are kept prepared.
    const began = this.#client.query({ name: beginText, text: beginText });
    return began.then(() => this.#client.query(statement));
  }

  /** What is asked for by the callbacks of promises that run now goes along. */
  #cork(): void {
    if (this.#corked) return;
    this.#corked = true;
    this.#socket.cork();
    process.nextTick(() => {
      this.#corked = false;
      this.#socket.uncork();
    });
  }

  /** Throws the connection away where the error says so, and gives the error that callers are to see. */
  #judge(error: unknown, isCommit: boolean): unknown {
    const lost = !(error instanceof pg.DatabaseError) && (this.#ended || this.#socket.destroyed);
    const cause =
      lost && !(error instanceof ConnectionLost) ? new ConnectionLost('it ended', { cause: error }) : error;
    const fault = storeFaultOf(cause);
    if (fault === 'away' || fault === 'read-only') this.#end(cause instanceof Error ? cause : undefined);
    if (fault === 'full') this.#events.full(cause);
    // The server may have committed before it went away.
    if (isCommit && fault === 'away') return unknownOutcome(cause);
    return storeError(cause);
  }

  /** Each statement passes here: no race of promises, and one timer. */
  #within<T>(ms: number, work: Promise<T>): Promise<T> {
    return new Promise((resolve, reject) => {
      let isOver = false;
      const expire = (): void => {
        if (isOver) return;
        const error = new ConnectionLost(`no answer in ${ms} ms`);
        this.#end(error);
        reject(error);
      };
      // What came while this process stood still lies in its socket, and is read first: timers run before that.
      const timer = setTimeout(() => setImmediate(expire), ms);
      const over = (): void => {
        isOver = true;
        clearTimeout(timer);
      };
      work.then(
        (value) => {
          over();
          resolve(value);
        },
        (error: unknown) => {
          over();
          reject(error);
        },
      );
    });
  }

  #end(error: Error | undefined): void {
    if (this.#ended) return;
    this.#ended = true;
    clearTimeout(this.#beginDue);
    this.#socket.destroy();
    this.#events.ended(this, error);
  }
}
