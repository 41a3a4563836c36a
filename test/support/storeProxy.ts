/**
 * Stands between a client and a PostgreSQL server, understands enough of the protocol to misbehave exactly, and orders these faults:
 * silence in both directions, closed doors, the lost answer of a COMMIT, and an error of the server's for chosen statements.
 */
import { once } from 'node:events';
import { createServer, connect as dial, type Server, type Socket } from 'node:net';
import { join } from 'node:path';

export type ProxyMode = 'pass' | 'silent' | 'refuse';

export interface OrderedError {
  /** SQLSTATE that the client is answered with; the server never hears of the statement. */
  readonly sqlState: string;
  /** Which statements, by their text. */
  readonly statements: RegExp;
}

const message = (type: string, body: Buffer): Buffer => {
  const head = Buffer.alloc(5);
  head.write(type, 0, 'latin1');
  head.writeInt32BE(body.length + 4, 1);
  return Buffer.concat([head, body]);
};

const errorAnswer = (sqlState: string): Buffer => {
  const fields = { S: 'ERROR', V: 'ERROR', C: sqlState, M: `ordered by a test: ${sqlState}` };
  const body = Object.entries(fields).map(([name, value]) => `${name}${value}\0`);
  return Buffer.concat([message('E', Buffer.from(`${body.join('')}\0`)), message('Z', Buffer.from('I'))]);
};

/** Cuts a stream of bytes into messages; the first of a client has no type byte. */
class Messages {
  #rest: Buffer = Buffer.alloc(0);
  #typed: boolean;

  constructor(typed: boolean) {
    this.#typed = typed;
  }

  *push(chunk: Buffer): Generator<{ type: string; bytes: Buffer }> {
    this.#rest = Buffer.concat([this.#rest, chunk]);
    for (;;) {
      const at = this.#typed ? 1 : 0;
      if (this.#rest.length < at + 4) return;
      const length = at + this.#rest.readInt32BE(at);
      if (this.#rest.length < length) return;
      const bytes = this.#rest.subarray(0, length);
      this.#rest = this.#rest.subarray(length);
      yield { type: this.#typed ? bytes.toString('latin1', 0, 1) : '', bytes };
      this.#typed = true;
    }
  }
}

const textAt = (bytes: Buffer, start: number): { text: string; end: number } => {
  const end = bytes.indexOf(0, start);
  return { text: bytes.toString('utf8', start, end), end: end + 1 };
};

export class StoreProxy {
  mode: ProxyMode = 'pass';
  error: OrderedError | undefined;
  /** It falls silent at a statement like this. */
  silentAt: RegExp | undefined;
  /** COMMITs that the server carries out and whose answer, and connection, the client loses. */
  commitAnswersToLose = 0;
  /** Connections that were made to it. */
  accepted = 0;
  readonly #server: Server;
  readonly #target: string;
  readonly #pairs = new Set<readonly [Socket, Socket]>();

  private constructor(server: Server, target: string) {
    this.#server = server;
    this.#target = target;
  }

  /** In front of the server whose socket lies in `socketDir`. */
  static async start(socketDir: string): Promise<StoreProxy> {
    const server = createServer();
    const proxy = new StoreProxy(server, join(socketDir, '.s.PGSQL.5432'));
    server.on('connection', (socket) => proxy.#serve(socket));
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    return proxy;
  }

  /** In front of the server of `url`, which names a Unix socket; `of` gives the URL of a database through it. */
  static of(url: string): Promise<StoreProxy> {
    return StoreProxy.start(new URL(url).searchParams.get('host') ?? '');
  }

  get port(): number {
    const address = this.#server.address();
    return typeof address === 'object' && address !== null ? address.port : 0;
  }

  get address(): string {
    return `127.0.0.1:${this.port}`;
  }

  /** The URL of the same database through this proxy. */
  url(url: string): string {
    return `postgresql://pando@${this.address}${new URL(url).pathname}`;
  }

  /** Cuts every connection. */
  cut(): void {
    for (const pair of this.#pairs) for (const socket of pair) socket.destroy();
  }

  async close(): Promise<void> {
    this.cut();
    this.#server.close();
    await once(this.#server, 'close');
  }

  #serve(client: Socket): void {
    this.accepted++;
    client.on('error', () => undefined);
    if (this.mode === 'refuse') {
      client.destroy();
      return;
    }
    const server = dial(this.#target);
    server.on('error', () => undefined);
    const pair = [client, server] as const;
    this.#pairs.add(pair);
    for (const socket of pair)
      socket.on('close', () => {
        this.#pairs.delete(pair);
        for (const each of pair) each.destroy();
      });
    this.#fromClient(client, server);
  }

  #fromClient(client: Socket, server: Socket): void {
    const messages = new Messages(false);
    const prepared = new Map<string, string>();
    /** Of one exchange, up to its Sync: a refused one never reaches the server in part. */
    let batch: Buffer[] = [];
    let refused = false;
    let losing = false;
    client.on('data', (chunk) => {
      if (this.mode === 'silent') return;
      for (const { type, bytes } of messages.push(chunk)) {
        const text = textOf(type, bytes, prepared);
        if (text !== undefined && this.silentAt?.test(text) === true) this.mode = 'silent';
        batch.push(bytes);
        refused ||= text !== undefined && this.error?.statements.test(text) === true;
        if (text === 'commit' && this.commitAnswersToLose > 0) {
          this.commitAnswersToLose--;
          losing = true;
        }
        if (/[PBDEC]/.test(type)) continue;
        if (this.mode === 'silent') return;
        if (refused) client.write(errorAnswer(this.error?.sqlState ?? 'XX000'));
        else server.write(Buffer.concat(batch));
        batch = [];
        refused = false;
      }
    });
    server.on('data', (chunk) => {
      if (losing) client.destroy();
      else if (this.mode !== 'silent') client.write(chunk);
    });
  }
}

/** The text that a message carries out: of a simple query, or of the statement that is bound. */
const textOf = (type: string, bytes: Buffer, prepared: Map<string, string>): string | undefined => {
  if (type === 'Q') return textAt(bytes, 5).text;
  if (type === 'P') {
    const name = textAt(bytes, 5);
    prepared.set(name.text, textAt(bytes, name.end).text);
  }
  if (type !== 'B') return undefined;
  const portal = textAt(bytes, 5);
  return prepared.get(textAt(bytes, portal.end).text);
};
