/**
 * A PostgreSQL server of the simulation: the real engine (PGlite) behind the real protocol, so that pool, client and SQL are production's.
 * The engine has one session, so transactions take turns: what is run between a BEGIN and its end is never mixed with others'.
 */
import type { Engine, EngineImage } from './engine.ts';
import type { Network } from './network.ts';
import * as protocol from './protocol.ts';
import { type Random, randomOf } from './random.ts';
import { SimServer, type SimSocket } from './sockets.ts';
import { partsOf, shownOf, textBytes } from './statements.ts';
import { type Dump, dumpOf, refill } from './storeDump.ts';
import type { SimEvent, SimProcess, World } from './world.ts';

export const storePort = 5432;
/** A session that stands still inside of a transaction for so long, while others wait, is ended. */
const idleInTransactionMs = 500;
const statementTimeoutMs = 6_000;
const serviceMsMax = 1;
const isRead = /^\s*select\b/;

interface Session {
  readonly socket: SimSocket;
  readonly peer: string;
  readonly reader: protocol.MessageReader;
  gathered: protocol.Message[];
  readonly batches: Batch[];
  /** Monotonic moment of its last answer. */
  answeredMs: number;
  /** What the transaction that is open wrote. */
  wrote: string[];
  /** Something in it has failed, and no savepoint was gone back to. */
  hasFailed: boolean;
}

interface Batch {
  readonly messages: readonly protocol.Message[];
  readonly sinceMs: number;
  /** Looks whether it waits too long; nobody has to, once it has its turn. */
  watch?: SimEvent | undefined;
}

export interface Committed {
  readonly store: string;
  readonly by: string;
  /** The writing statements. */
  readonly statements: readonly string[];
}

export interface StoreImage {
  readonly engine: EngineImage;
  /** Names of statements that the engine's session has prepared, by their texts. */
  readonly prepared: ReadonlyMap<string, string>;
  /** How many names it has had. */
  readonly names: number;
}

/** What the engine has cost this process, in real time, by statement. */
export const engineCosts = new Map<string, { count: number; ms: number }>();

const noteCost = (sql: string, sinceMs: number): void => {
  const cost = engineCosts.get(sql) ?? { count: 0, ms: 0 };
  cost.count++;
  cost.ms += performance.now() - sinceMs;
  engineCosts.set(sql, cost);
};

export class SimStore {
  readonly name: string;
  readonly #engine: Engine;
  readonly #world: World;
  readonly #network: Network;
  readonly #random: Random;
  readonly #prepared = new Map<string, string>();
  #names = 0;
  /** Texts by the names that clients give them. */
  readonly #named = new Map<string, string>();
  readonly #sessions = new Set<Session>();
  readonly #inside: SimProcess;
  #process: SimProcess | undefined;
  #owner: Session | undefined;
  commits = 0;
  statements = 0;
  /** What a statement is made of before the engine has it: for deliberate faults. */
  rewrite: ((sql: string) => string) | undefined;
  onCommit: ((committed: Committed) => void) | undefined;

  constructor(name: string, engine: Engine, network: Network) {
    this.name = name;
    this.#engine = engine;
    this.#network = network;
    this.#world = network.world;
    this.#random = randomOf(network.world.seed, name);
    this.#inside = network.world.process(`${name} inside`);
    this.#inside.state = 'dead';
  }

  get process(): SimProcess | undefined {
    return this.#process;
  }

  get isBusy(): boolean {
    return this.#owner !== undefined;
  }

  /** Rows as texts. For checks: it takes no time, and shows what is committed only while no transaction is open. */
  look(sql: string): readonly (string | null)[][] {
    const began = performance.now();
    const { rows, error } = protocol.answerIn(this.#ask(this.#asked(sql)), true);
    noteCost(sql, began);
    if (error === undefined) return rows;
    // It may not have been prepared.
    this.#prepared.delete(sql);
    throw new Error(`${this.name}: ${error}`);
  }

  /** What checks ask again and again is planned once. */
  #asked(sql: string): Buffer {
    if (!isRead.test(sql)) return protocol.queryOf(sql);
    const known = this.#prepared.get(sql);
    return protocol.preparedQueryOf(known ?? this.#name(sql), known === undefined ? sql : undefined);
  }

  /** The name under which the engine's session will know a statement from now on. */
  #name(sql: string): string {
    const name = `e${++this.#names}`;
    this.#prepared.set(sql, name);
    return name;
  }

  /** It reads this machine's clock; timers of its own, which the real clock has a part in, never fire. */
  #ask(bytes: Buffer): Uint8Array {
    this.#inside.wallAheadMs = this.#process?.wallAheadMs ?? 0;
    let reply: Uint8Array = bytes;
    this.#inside.enter(() => {
      reply = this.#engine.ask(bytes);
    });
    if (this.#engine.failure !== undefined) this.#world.failed(this.#inside, this.#engine.failure);
    return reply;
  }

  start(): void {
    const process = this.#world.process(this.name);
    this.#process = process;
    this.#world.as(process, () => {
      const server = new SimServer(this.#network, {});
      server.on('connection', (socket: SimSocket) => this.#begin(socket));
      server.listen(storePort, this.name);
    });
    process.onEnd.add(() => {
      for (const session of [...this.#sessions]) this.#end(session);
    });
  }

  /** Its rows. */
  dump(): Dump {
    return dumpOf((sql) => this.look(sql));
  }

  /** Gives it these rows. The server must not run. */
  refill(dump: Dump): void {
    refill((sql) => this.look(sql), dump);
  }

  /** All of it, at this moment. No transaction may be open. */
  image(): StoreImage {
    return { engine: this.#engine.image(), prepared: new Map(this.#prepared), names: this.#names };
  }

  /** Forgets what other sessions have prepared. */
  reset(): void {
    this.look('deallocate all');
  }

  /** Makes it what it was. The server must not run. */
  restore({ engine, prepared, names }: StoreImage): void {
    this.#engine.restore(engine);
    this.#names = names;
    this.#prepared.clear();
    for (const [sql, name] of prepared) this.#prepared.set(sql, name);
  }

  #begin(socket: SimSocket): void {
    const session: Session = {
      ...{ socket, peer: socket.peer?.process.name ?? '?', reader: new protocol.MessageReader() },
      ...{ gathered: [], batches: [], answeredMs: this.#world.nowMs, wrote: [], hasFailed: false },
    };
    this.#sessions.add(session);
    socket.on('data', (chunk: Buffer) => {
      for (const message of session.reader.push(chunk)) this.#take(session, message);
      this.#pump();
    });
    socket.on('error', () => undefined);
    socket.on('close', () => {
      this.#end(session);
      this.#pump();
    });
  }

  #take(session: Session, message: protocol.Message): void {
    if (message.type === 'startup') session.socket.write(protocol.welcome);
    else if (message.type === 'X') session.socket.end();
    else {
      session.gathered.push(message);
      if (message.type !== 'Q' && message.type !== 'S') return;
      const batch: Batch = { messages: session.gathered, sinceMs: this.#world.nowMs };
      session.batches.push(batch);
      session.gathered = [];
      this.#watch(session, batch);
    }
  }

  /** Waiters are not kept waiting by somebody who has gone away, nor for ever by anybody. */
  #watch(waiter: Session, batch: Batch): void {
    const again = (): void => {
      if (this.#process !== undefined)
        batch.watch = this.#world.after(this.#process, idleInTransactionMs / 2, look);
    };
    const look = (): void => {
      if (!this.#sessions.has(waiter)) return;
      const owner = this.#owner;
      if (
        owner !== undefined &&
        owner !== waiter &&
        this.#world.nowMs - owner.answeredMs > idleInTransactionMs
      ) {
        this.#world.tell(`${this.name} ends the idle transaction of ${owner.peer}`);
        owner.socket.write(
          protocol.errorOf('FATAL', '25P03', 'terminating connection due to idle-in-transaction timeout'),
        );
        owner.socket.destroy();
        this.#end(owner);
        this.#pump();
        if (waiter.batches.includes(batch)) again();
      } else if (this.#world.nowMs - batch.sinceMs > statementTimeoutMs) {
        waiter.batches.splice(waiter.batches.indexOf(batch), 1);
        waiter.socket.write(
          Buffer.concat([
            protocol.errorOf('ERROR', '57014', 'canceling statement due to statement timeout'),
            protocol.readyFor('I'),
          ]),
        );
      } else again();
    };
    again();
  }

  #end(session: Session): void {
    if (!this.#sessions.delete(session)) return;
    if (this.#owner !== session) return;
    this.look('rollback');
    this.#owner = undefined;
    this.#world.tell(`${this.name} rolls back ${session.peer}`);
  }

  /** Whose turn it is: who is inside of a transaction, else whoever has waited longest. */
  #pump(): void {
    for (;;) {
      const next = this.#owner ?? this.#longestWaiting();
      const batch = next?.batches.shift();
      if (next === undefined || batch === undefined) return;
      if (batch.watch !== undefined) this.#world.cancel(batch.watch);
      this.#execute(next, batch.messages);
    }
  }

  #longestWaiting(): Session | undefined {
    let found: Session | undefined;
    for (const session of this.#sessions) {
      const since = session.batches[0]?.sinceMs;
      if (since !== undefined && since < (found?.batches[0]?.sinceMs ?? Number.POSITIVE_INFINITY))
        found = session;
    }
    return found;
  }

  #execute(session: Session, messages: readonly protocol.Message[]): void {
    const { sent, known, fresh, texts } = this.#unprepared(messages);
    const [first = ''] = texts;
    const sql = texts.length === 1 ? first : texts.join('; ');
    const bytes = Buffer.concat(sent);
    const began = performance.now();
    const reply = this.#ask(bytes);
    noteCost(sql, began);
    const { error, status, parsed } = protocol.answerIn(reply);
    this.statements++;
    // What comes after a failure in the same message was passed over.
    for (const text of fresh.slice(parsed)) this.#prepared.delete(text);
    const outcome = error === undefined ? status : `failed ${error.slice(0, 80)}`;
    // Whether a statement had to be parsed depends on how many others this process has prepared in earlier runs.
    const rest = protocol.withoutParseComplete(reply, parsed);
    this.#world.tell(
      `${this.name} < ${session.peer} ${outcome} `,
      [...given(messages), ...texts.map(textBytes), rest],
      () => shownOf(sql),
    );
    for (const text of texts) if (partsOf(text).writes) session.wrote.push(text);
    session.answeredMs = this.#world.nowMs;
    this.#owner = status === 'I' ? undefined : session;
    const answer =
      known === 0
        ? reply
        : Buffer.concat([...Array.from({ length: known }, () => protocol.parseComplete), reply]);
    const service = this.#random.next() * serviceMsMax;
    if (this.#process !== undefined)
      this.#world.after(this.#process, service, () => session.socket.write(answer));
    // COMMIT of a transaction that has failed undoes it.
    if (status === 'I')
      this.#committed(session, session.hasFailed || error !== undefined || partsOf(first).rollsBack);
    session.hasFailed = status === 'E';
  }

  #committed(session: Session, failed: boolean): void {
    const statements = session.wrote;
    session.wrote = [];
    if (failed || statements.length === 0) return;
    this.commits++;
    this.onCommit?.({ store: this.name, by: session.peer, statements });
  }

  /** All connections prepare a text under the same name, by their own counting; the engine has one session, which needs it once. */
  #unprepared(messages: readonly protocol.Message[]) {
    const fresh: string[] = [];
    let known = 0;
    const texts: string[] = [];
    const sent: Buffer[] = [];
    const parsed = (message: protocol.Message): void => {
      const [name = '', given = ''] = protocol.textsOf(message, 2);
      if (name === '') texts.push(given);
      const text = this.rewrite?.(given) ?? given;
      if (name === '') sent.push(...protocol.withTexts(message, '', text));
      else {
        this.#named.set(name, text);
        if (this.#prepared.has(text)) known++;
        else {
          fresh.push(text);
          sent.push(...protocol.withTexts(message, this.#name(text), text));
        }
      }
    };
    const bound = (message: protocol.Message): void => {
      const [portal = '', name = ''] = protocol.textsOf(message, 2);
      const text = this.#named.get(name);
      if (text === undefined) sent.push(message.whole);
      else {
        texts.push(text);
        sent.push(...protocol.withTexts(message, portal, this.#prepared.get(text) ?? name));
      }
    };
    for (const message of messages)
      if (message.type === 'P') parsed(message);
      else if (message.type === 'B') bound(message);
      else {
        if (message.type === 'Q') texts.push(...protocol.textsOf(message, 1));
        sent.push(message.whole);
      }
    return { sent, known, fresh, texts };
  }
}

/** What is bound. Names of prepared statements are of the whole process, and tell of earlier runs. */
const given = (messages: readonly protocol.Message[]): Buffer[] => {
  const found: Buffer[] = [];
  for (const { type, whole } of messages)
    if (type === 'B') found.push(whole.subarray(whole.indexOf(0, whole.indexOf(0, 5) + 1)));
  return found;
};
