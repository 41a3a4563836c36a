/** A phone against the HTTP API: a session, a device key, signed messages. What the pages do in a browser. */
import { randomBytes, randomUUID, type webcrypto } from 'node:crypto';
import {
  type AnswerOf,
  type BodyInput,
  type Route,
  type RouteName,
  routes,
} from '#payments/contract/routes.ts';
import { type PublicKeyJwk, signedBytes } from '#payments/contract/signing.ts';

export interface Reply {
  readonly status: number;
  readonly body: unknown;
  readonly replayed: boolean;
  readonly headers: Headers;
}

/** What the API refused, as tests match it: `{ code: 'expired' }`. */
export class Refused extends Error {
  readonly code: string;
  readonly status: number;
  readonly reply: Reply;
  constructor(reply: Reply) {
    const { error } = reply.body as { error: { code: string; message: string } };
    super(`${error.code}: ${error.message}`);
    this.code = error.code;
    this.status = reply.status;
    this.reply = reply;
  }
}

export interface CallOptions {
  readonly params?: Readonly<Record<string, string>>;
  readonly query?: string;
  readonly key?: string;
  readonly headers?: Readonly<Record<string, string>>;
}

export const newNonce = (): string => randomBytes(16).toString('base64url');

export class Phone {
  readonly url: string;
  readonly clock: () => number;
  cookie = '';
  deviceId = '';
  personId = '';
  #keys: webcrypto.CryptoKeyPair | undefined;

  constructor(url: string, clock: () => number = Date.now) {
    this.url = url;
    this.clock = clock;
  }

  /** Signs in as a demo person and registers a device. */
  static async demo(url: string, handle: string, clock?: () => number, phoneNumber?: string): Promise<Phone> {
    const phone = new Phone(url, clock);
    const me = await phone.call('demoSignIn', { handle: handle as `@${string}` });
    phone.personId = me.personId;
    await phone.register(phoneNumber);
    return phone;
  }

  /** Makes a key and registers it. */
  async register(phoneNumber?: string): Promise<void> {
    this.#keys = await crypto.subtle.generateKey({ name: 'ECDSA', namedCurve: 'P-256' }, false, [
      'sign',
      'verify',
    ]);
    const publicKey = await this.publicKey();
    this.deviceId = (await this.call('addDevice', { name: 'test phone', publicKey, phoneNumber })).deviceId;
  }

  async publicKey(): Promise<PublicKeyJwk> {
    if (this.#keys === undefined) throw new Error('the phone has no key');
    const { kty, crv, x, y } = await crypto.subtle.exportKey('jwk', this.#keys.publicKey);
    return { kty, crv, x, y } as PublicKeyJwk;
  }

  /** Another device of the same person, with the same session. */
  async second(): Promise<Phone> {
    const other = new Phone(this.url, this.clock);
    other.cookie = this.cookie;
    other.personId = this.personId;
    await other.register();
    return other;
  }

  async sign<Payload extends object>(payload: Payload): Promise<{ payload: Payload; signature: string }> {
    if (this.#keys === undefined) throw new Error('the phone has no key');
    const signature = await crypto.subtle.sign(
      { name: 'ECDSA', hash: 'SHA-256' },
      this.#keys.privateKey,
      signedBytes(payload),
    );
    return { payload, signature: Buffer.from(signature).toString('base64url') };
  }

  /** A signed message: the header and the fields. */
  message<Type extends string>(type: Type, fields: object, at = this.clock()) {
    return this.sign({ type, deviceId: this.deviceId, nonce: newNonce(), at, ...fields });
  }

  /** The raw exchange. */
  async send(name: RouteName, body?: unknown, options: CallOptions = {}): Promise<Reply> {
    const route: Route = routes[name];
    const path = route.path.replace(/:(\w+)/g, (_, key: string) => options.params?.[key] ?? '');
    const response = await fetch(
      `${this.url}${path}${options.query === undefined ? '' : `?${options.query}`}`,
      {
        method: route.method,
        headers: {
          ...(route.method === 'GET' || route.method === 'DELETE'
            ? {}
            : { 'content-type': 'application/json' }),
          ...(this.cookie === '' ? {} : { cookie: this.cookie }),
          ...(route.idempotent === true ? { 'idempotency-key': options.key ?? randomUUID() } : {}),
          ...options.headers,
        },
        ...(route.method === 'GET' || route.method === 'DELETE'
          ? {}
          : { body: typeof body === 'string' ? body : JSON.stringify(body ?? {}) }),
      },
    );
    const set = response.headers.getSetCookie()[0];
    if (set !== undefined) this.cookie = set.split(';')[0] ?? '';
    return {
      status: response.status,
      body: await response.json(),
      replayed: response.headers.get('idempotent-replayed') === 'true',
      headers: response.headers,
    };
  }

  /** The answer, checked against the contract; throws {@link Refused}. */
  async call<Name extends RouteName>(
    name: Name,
    body?: BodyInput<Name>,
    options: CallOptions = {},
  ): Promise<AnswerOf<Name>> {
    const reply = await this.send(name, body, options);
    if (reply.status !== 200) throw new Refused(reply);
    return routes[name].answer.parse(reply.body) as AnswerOf<Name>;
  }

  /** A signed call whose fields are not checked by types: tests send what is wrong, too. */
  async signed<Name extends RouteName>(
    name: Name,
    type: string,
    fields: object,
    options: CallOptions = {},
  ): Promise<AnswerOf<Name>> {
    return this.call(name, (await this.message(type, fields)) as BodyInput<Name>, options);
  }

  report(
    position: { latitude: number; longitude: number },
    options: { accuracyM?: number; source?: string; at?: number } = {},
  ): Promise<AnswerOf<'report'>> {
    const at = options.at ?? this.clock();
    const fix = { source: options.source ?? 'gnss', position, accuracyM: options.accuracyM ?? 8, at };
    return this.signed('report', 'location.report', { fixes: [fix] });
  }

  pay(
    payee: object,
    amountMinor: string,
    options: CallOptions & { currency?: string } = {},
  ): Promise<AnswerOf<'pay'>> {
    return this.signed(
      'pay',
      'payment',
      { payee, money: { amountMinor, currency: options.currency ?? 'EUR' }, note: '' },
      options,
    );
  }

  async balance(): Promise<bigint> {
    return BigInt((await this.call('me')).availableMinor);
  }
}
