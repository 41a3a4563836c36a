/** A client of the API: signs, speaks HTTP to a router, waits a bounded time, and asks again with what it sent before. */
import { type SignedCall, signedHeaders } from '#cli/sign.ts';
import type { NewAccount } from '#region/accounts.ts';
import type { Network } from './network.ts';
import type { Random } from './random.ts';
import * as names from './shape.ts';
import { SimSocket } from './sockets.ts';

const version = '2016-11-15';
const toCapacity: SignedCall = {
  ...{ method: 'POST', path: '/capacity/v1/requests', query: '' },
  contentType: 'application/json',
};
const attemptMs = 8_000;
const attemptsMax = 8;
const pauseMsMin = 100;
const pauseMsMax = 3_000;

export interface Reply {
  readonly status: number;
  readonly body: string;
}

export interface Outcome {
  /** `done`: it was answered with success. `refused`: with a client's error. `unknown`: neither, in all attempts. */
  readonly kind: 'done' | 'refused' | 'unknown';
  readonly body: string;
  readonly code: string | undefined;
  /** Whether an attempt before the last had no certain end: it may have been carried out. */
  readonly doubtful: boolean;
}

export interface ClientOptions {
  readonly network: Network;
  readonly account: NewAccount;
  readonly routers: number;
  readonly random: Random;
}

export class Client {
  readonly #options: ClientOptions;

  constructor(options: ClientOptions) {
    this.#options = options;
  }

  async call(action: string, parameters: Readonly<Record<string, string>>): Promise<Outcome> {
    const body = new URLSearchParams({ Action: action, Version: version, ...parameters }).toString();
    return this.#send(body);
  }

  /** Asks for capacity that is held for it, once there is some. */
  request(input: object): Promise<Outcome> {
    return this.#send(JSON.stringify(input), toCapacity);
  }

  async #send(body: string, to?: SignedCall): Promise<Outcome> {
    const { random } = this.#options;
    // Some clients say that they repeat themselves, some do not.
    const tells = random.chance(0.5);
    let doubtful = false;
    for (let attempt = 1; ; attempt++) {
      const reply = await this.#attempt(
        body,
        tells ? `attempt=${attempt}; max=${attemptsMax}` : undefined,
        to,
      );
      const code = reply === undefined ? undefined : /<Code>([^<]+)<\/Code>/.exec(reply.body)?.[1];
      if (reply?.status === 200 || reply?.status === 201)
        return { kind: 'done', body: reply.body, code, doubtful };
      const passes = reply === undefined || reply.status >= 500;
      if (!passes) return { kind: 'refused', body: reply.body, code, doubtful };
      // A lack of capacity is an answer, and says that nothing was taken.
      if (code === 'InsufficientInstanceCapacity')
        return { kind: 'refused', body: reply?.body ?? '', code, doubtful };
      doubtful = true;
      if (attempt === attemptsMax) return { kind: 'unknown', body: reply?.body ?? '', code, doubtful };
      await pause(Math.min(pauseMsMax, pauseMsMin * 2 ** attempt) * (0.5 + random.next() / 2));
    }
  }

  #attempt(
    body: string,
    attempt: string | undefined,
    to: SignedCall | undefined,
  ): Promise<Reply | undefined> {
    const { network, account, routers, random } = this.#options;
    const host = names.routerName(random.between(1, routers + 1));
    const { accessKeyId, secretAccessKey } = account;
    const target = { host, region: names.regionName, service: 'ec2' };
    const signed = signedHeaders({ accessKeyId, secret: secretAccessKey }, target, body, new Date(), to);
    const headers = {
      host,
      ...signed,
      'content-length': String(Buffer.byteLength(body)),
      connection: 'close',
      ...(attempt && { 'amz-sdk-request': attempt }),
    };
    const head = Object.entries(headers).map(([name, value]) => `${name}: ${value}\r\n`);
    const socket = new SimSocket(network);
    return new Promise((resolve) => {
      const chunks: Buffer[] = [];
      const end = (reply: Reply | undefined): void => {
        clearTimeout(timer);
        resolve(reply);
        socket.destroy();
      };
      const timer = setTimeout(() => end(undefined), attemptMs);
      socket.on('error', () => end(undefined));
      socket.on('close', () => end(undefined));
      socket.on('data', (chunk: Buffer) => {
        chunks.push(chunk);
        const reply = replyIn(Buffer.concat(chunks).toString());
        if (reply !== undefined) end(reply);
      });
      socket.once('connect', () =>
        socket.write(`POST ${to?.path ?? '/'} HTTP/1.1\r\n${head.join('')}\r\n${body}`),
      );
      socket.connect(names.routerPort, host);
    });
  }
}

export const pause = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

/** A whole answer; undefined: more of it is to come. */
const replyIn = (text: string): Reply | undefined => {
  const end = text.indexOf('\r\n\r\n');
  if (end < 0) return undefined;
  const length = Number(/\r\ncontent-length: (\d+)/i.exec(text.slice(0, end + 2))?.[1] ?? 0);
  const body = text.slice(end + 4);
  if (Buffer.byteLength(body) < length) return undefined;
  return { status: Number(text.slice(9, 12)), body };
};
