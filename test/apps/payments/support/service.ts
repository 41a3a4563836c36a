/** The whole application on a database of its own, with a clock that the test moves. */

import type { App } from '#payments/app.ts';
import type { LocationVerifier } from '#payments/carrier/verification.ts';
import { square } from '#payments/demo/demo.ts';
import { healthOf } from '#payments/ledger/proof.ts';
import { moved } from '#payments/location/geodesic.ts';
import { type Config, start } from '#payments/start.ts';
import { atEnd, testDatabase } from './database.ts';
import { Phone } from './phone.ts';

export const operatorToken = 'operator-token-of-tests';

/** A place in the demo's town, by metres and degrees from the square's middle. */
export const near = (metres: number, degrees = 0) => moved(square, degrees, metres);

export interface Service {
  readonly url: string;
  readonly app: App;
  /** Moves the service's clock on. */
  pass(ms: number): void;
  now(): number;
  phone(handle: string, phoneNumber?: string): Promise<Phone>;
  /** Throws unless the books balance. */
  balanced(): Promise<void>;
}

export async function service(
  options: {
    readonly carrier?: LocationVerifier;
    readonly config?: Partial<Config>;
    readonly startMs?: number;
    /** In place of the application's own: of a copy of it that was changed. */
    readonly begin?: typeof start;
    /** Of its connections: `-c enable_seqscan=off`. */
    readonly databaseOptions?: string;
  } = {},
): Promise<Service> {
  const { url } = await testDatabase();
  const databaseUrl =
    options.databaseOptions === undefined
      ? url
      : `${url}&options=${encodeURIComponent(options.databaseOptions)}`;
  let now = options.startMs ?? Date.parse('2026-11-26T12:00:00Z');
  const clock = (): number => now;
  const running = await (options.begin ?? start)(
    {
      databaseUrl,
      mode: 'demo',
      port: 0,
      origin: 'http://localhost:8480',
      operatorToken,
      accountRequestsPerS: 1_000_000,
      ...options.config,
    },
    { clock, housekeeping: false, ...(options.carrier && { carrier: options.carrier }) },
  );
  atEnd(() => running.close());
  return {
    url: running.url,
    app: running.app,
    now: clock,
    pass: (ms) => {
      now += ms;
    },
    phone: (handle, phoneNumber) => Phone.demo(running.url, handle, clock, phoneNumber),
    balanced: async () => {
      const health = await healthOf(running.app.pool);
      for (const sum of health.sums)
        if (sum.sumMinor !== 0n) throw new Error(`${sum.currency} sums to ${sum.sumMinor}`);
      if (health.unbalanced.length + health.drifted.length > 0)
        throw new Error(JSON.stringify(health.drifted));
    },
  };
}
