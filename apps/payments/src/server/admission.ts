/**
 * Who may ask: sessions, the devices of theirs that messages name, and how often.
 *
 * A session and its device are looked up for each request. A request that can begin early does not wait for that look: it begins with
 * what the last one found, and sends the look ahead of its own first question (see `letIn` in `ledger/idempotency.ts`). The look has
 * the last word: a session that has ended, or a device that was removed, gets no answer and writes nothing.
 */
import type { FastifyRequest } from 'fastify';
import { z } from 'zod';
import type { App } from '../app.ts';
import { PaymentsError } from '../base/errors.ts';
import { accountRequestsBurstMax, accountRequestsPerSMax } from '../contract/limits.ts';
import { DeviceId } from '../contract/primitives.ts';
import type { Route } from '../contract/routes.ts';
import type { SignerRow } from '../people/devices.ts';
import { sessionOf, signedSessionOf } from '../people/sessions.ts';
import type { Queryable } from '../store/pool.ts';
import { RateLimit } from './rate-limit.ts';
import { cookieOf, operatorCookie, sessionCookie } from './security.ts';

/** Requests without a session, by address: sign-in and the pages' first calls. */
const addressRequestsPerS = 20;
const addressRequestsBurst = 100;
export const rememberedMax = 10_000;

/** Who asks, and the device of theirs that the message names, where it names one. */
export interface Admitted {
  /** '' on routes without a session. */
  readonly personId: string;
  readonly device?: SignerRow | undefined;
}

/** Somebody who was let in a while ago, and may not be any more. */
export interface Remembered extends Admitted {
  /** Whether {@link Remembered.letIn} has found them as they were: until then nothing of this request is known to be theirs. */
  readonly isLetIn: boolean;
  /** The look, sent before this returns. Rejects where it finds somebody else, or nobody: whoever asks must be admitted anew. */
  letIn(on: Queryable): Promise<void>;
}

export class Admission {
  readonly #app: App;
  /** By the cookie, before anything is looked up: a flood must not become the store's. */
  readonly #sessions: RateLimit;
  /** Over all sessions of an account. */
  readonly #accounts: RateLimit;
  readonly #addresses: RateLimit;
  /** By cookie and device; in the order of their last use, so that the first is the one to forget. */
  readonly #remembered = new Map<string, Admitted>();

  constructor(app: App, accountRequestsPerS = accountRequestsPerSMax) {
    const burst = Math.max(accountRequestsPerS, accountRequestsBurstMax);
    this.#app = app;
    this.#sessions = new RateLimit(app.clock, accountRequestsPerS, burst);
    this.#accounts = new RateLimit(app.clock, accountRequestsPerS, burst);
    this.#addresses = new RateLimit(app.clock, addressRequestsPerS, addressRequestsBurst);
  }

  /** Errors: `not_signed_in`, `operator_only`, `rate_limited`. */
  async admit(route: Route, request: FastifyRequest): Promise<Admitted> {
    if (route.auth === 'session') return this.person(request, deviceNamed(request.body));
    this.#addresses.take(request.ip);
    if (route.auth !== 'operator') return { personId: '' };
    const token = cookieOf(request, operatorCookie);
    const session =
      token === undefined ? undefined : await sessionOf(this.#app.pool, token, this.#app.clock());
    if (session?.kind !== 'operator')
      throw new PaymentsError('operator_only', 'Sign in as the operator first.');
    return { personId: '' };
  }

  /** `deviceId`: '' where the request names none. Errors: `not_signed_in`, `rate_limited`. */
  async person(request: FastifyRequest, deviceId = ''): Promise<Admitted> {
    const token = cookieOf(request, sessionCookie);
    if (token !== undefined) this.#sessions.take(token);
    const session =
      token === undefined
        ? undefined
        : await signedSessionOf(this.#app.pool, token, this.#app.clock(), deviceId);
    if (token === undefined || session === undefined) {
      this.#addresses.take(request.ip);
      throw new PaymentsError('not_signed_in', 'Sign in first.');
    }
    this.#accounts.take(session.personId);
    if (session.device !== undefined) this.#remember(nameOf(token, deviceId), session);
    return session;
  }

  /** Whom the last look found with this cookie and device. Error: `rate_limited`. */
  recall(request: FastifyRequest): Remembered | undefined {
    const token = cookieOf(request, sessionCookie);
    const deviceId = deviceNamed(request.body);
    if (token === undefined || deviceId === '') return undefined;
    const name = nameOf(token, deviceId);
    const known = this.#remembered.get(name);
    if (known === undefined) return undefined;
    this.#sessions.take(token);
    this.#accounts.take(known.personId);
    this.#remember(name, known);
    let isLetIn = false;
    return {
      ...known,
      get isLetIn() {
        return isLetIn;
      },
      letIn: async (on) => {
        const found = await signedSessionOf(on, token, this.#app.clock(), deviceId);
        isLetIn = found !== undefined && isSame(found, known);
        if (isLetIn) return;
        this.#remembered.delete(name);
        // Only who waited for the same request of another session is told so.
        throw new PaymentsError('busy', 'Try again with the same key.', { retryAfterS: 1 });
      },
    };
  }

  #remember(name: string, who: Admitted): void {
    this.#remembered.delete(name);
    if (this.#remembered.size >= rememberedMax)
      this.#remembered.delete(this.#remembered.keys().next().value ?? '');
    this.#remembered.set(name, who);
  }
}

const nameOf = (token: string, deviceId: string): string => `${token} ${deviceId}`;

/** What a request may begin with: the person, and the key that the signature was verified by. */
const isSame = (found: Admitted, known: Admitted): boolean =>
  found.personId === known.personId &&
  found.device !== undefined &&
  found.device.public_key.x === known.device?.public_key.x &&
  found.device.public_key.y === known.device.public_key.y;

/** Which device a body says that it comes from, '' for none: before anything of it is checked. */
function deviceNamed(body: unknown): string {
  const sent = Sent.safeParse(body);
  return sent.success ? sent.data.payload.deviceId : '';
}
const Sent = z.object({ payload: z.object({ deviceId: DeviceId }) });
