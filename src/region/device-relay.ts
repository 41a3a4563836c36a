/**
 * Calls of a device over the region's process that it is connected to (S8.3): the engine of rollouts runs in one process, and a cell may have
 * lost its streams to that one alone. The call is a row, the other process is told of it, and tells of the answer.
 *
 * Who does not say at once that it has the call is as good as dead: the caller hears `HostUnreachable` and tries again, by then perhaps over a
 * stream of its own.
 */
import { randomUUID } from 'node:crypto';
import { sql } from 'kysely';
import { z } from 'zod';
import type { Logger } from '#base/log.ts';
import { isErrorCode, PandoError } from '#contracts/errors.ts';
import type { Replicas } from './replicas.ts';
import type { Database } from './schema.ts';

/** From the notice until the other process says that it has the call. */
const takenMsMax = 1_500;
const waitingMax = 1_024;
/** A row whose asker died is nobody's after so long. */
const rowSecondsMax = 600;

const answer = z.union([
  z.object({ value: z.unknown() }),
  z.object({
    error: z.object({
      code: z.string(),
      message: z.string(),
      details: z.record(z.string(), z.string()).optional(),
    }),
  }),
]);

interface Waiting {
  readonly device: string;
  taken(): void;
  answered(): void;
  fail(error: PandoError): void;
}

export interface DeviceRelayOptions {
  readonly db: Database;
  readonly log: Logger;
  readonly replicas: Pick<Replicas, 'whoHas' | 'send'>;
  /** Asks a device that is connected here. */
  serve(device: string, method: string, params: unknown): Promise<unknown>;
}

export class DeviceRelay {
  readonly #options: DeviceRelayOptions;
  readonly #waiting = new Map<string, Waiting>();

  constructor(options: DeviceRelayOptions) {
    this.#options = options;
  }

  /** Whether another process has it, as far as is known. */
  has(device: string): boolean {
    return this.#options.replicas.whoHas(device) !== undefined;
  }

  /** @throws what the device answers; `HostUnreachable`: no other process has it, or it did not answer in time */
  async call(device: string, method: string, params: unknown, timeoutMs: number): Promise<unknown> {
    const { db, replicas } = this.#options;
    const to = replicas.whoHas(device);
    if (to === undefined || this.#waiting.size >= waitingMax) throw notReached(device);
    const callId = randomUUID();
    try {
      await sql`delete from device_call where asked_at < now() - make_interval(secs => ${rowSecondsMax})`.execute(
        db,
      );
      await sql`insert into device_call (call_id, device, method, params)
        values (${callId}, ${device}, ${method}, ${JSON.stringify(params)})`.execute(db);
      const answered = this.#wait(callId, device, timeoutMs);
      await replicas.send('call', to, callId);
      await answered;
      return await this.#answerOf(callId, device);
    } finally {
      this.#waiting.delete(callId);
      await sql`delete from device_call where call_id = ${callId}`.execute(db).catch(() => undefined);
    }
  }

  /** It is connected here now: nobody waits for another process any more. */
  isHere(device: string): void {
    for (const waiting of this.#waiting.values())
      if (waiting.device === device) waiting.fail(notReached(device));
  }

  /** What another process says of a call. */
  heard(kind: 'call' | 'taken' | 'answered', from: string, callId: string): void {
    if (kind === 'call') void this.#serve(from, callId);
    else this.#waiting.get(callId)?.[kind]();
  }

  #wait(callId: string, device: string, timeoutMs: number): Promise<void> {
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    const late = (): void => reject(notReached(device));
    let timer = setTimeout(late, Math.min(takenMsMax, timeoutMs));
    this.#waiting.set(callId, {
      device,
      taken: () => {
        clearTimeout(timer);
        timer = setTimeout(late, timeoutMs);
      },
      answered: resolve,
      fail: reject,
    });
    const over = promise.finally(() => clearTimeout(timer));
    // Whoever asks waits for it a moment later: it may have failed by then.
    over.catch(() => undefined);
    return over;
  }

  async #answerOf(callId: string, device: string): Promise<unknown> {
    const { rows } = await sql<{ answer: unknown }>`
      select answer from device_call where call_id = ${callId}`.execute(this.#options.db);
    const read = answer.safeParse(rows[0]?.answer);
    if (!read.success) throw notReached(device);
    if (!('error' in read.data)) return read.data.value;
    const { code, message, details } = read.data.error;
    throw new PandoError(isErrorCode(code) ? code : 'InternalError', message, {
      ...(details && { details }),
    });
  }

  async #serve(from: string, callId: string): Promise<void> {
    const { db, replicas, log, serve } = this.#options;
    try {
      const { rows } = await sql<{ device: string; method: string; params: unknown }>`
        select device, method, params from device_call where call_id = ${callId} and answer is null`.execute(
        db,
      );
      const [row] = rows;
      if (row === undefined) return;
      await replicas.send('taken', from, callId);
      const answered = await serve(row.device, row.method, row.params).then(
        (value) => ({ value }),
        (error: unknown) => {
          const { code, message, details } = PandoError.from(error);
          return { error: { code, message, ...(details && { details }) } };
        },
      );
      await sql`update device_call set answer = ${JSON.stringify(answered)} where call_id = ${callId}`.execute(
        db,
      );
      await replicas.send('answered', from, callId);
    } catch (err) {
      log.warn({ err, callId }, 'a call of another process was not passed on: it tries again');
    }
  }
}

const notReached = (device: string): PandoError =>
  new PandoError('HostUnreachable', `${device} was not reached over another process of the region.`);
