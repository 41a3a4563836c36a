/** Puts the application together and starts it: schema, parts, housekeeping, HTTP. */
import { join } from 'node:path';
import type { App, Log } from './app.ts';
import { Background } from './base/background.ts';
import { type Clock, systemClock } from './base/clock.ts';
import { carrierClient } from './carrier/client.ts';
import type { LocationVerifier } from './carrier/verification.ts';
import { defaultPolicy, type Policy } from './decision/policy.ts';
import { openDemo } from './demo/demo.ts';
import { LiveEvents } from './events/live.ts';
import { startHousekeeping } from './housekeeping.ts';
import { NearbyIndex } from './location/nearby-index.ts';
import { retain } from './location/retention.ts';
import { loadPlaces } from './people/establishments.ts';
import { makeServer } from './server/server.ts';
import { migrate } from './store/migrate.ts';
import { openPool } from './store/pool.ts';
import { schema } from './store/schema.ts';

const carrierDeadlineMs = 300;
const partnerRestMsDefault = 10 * 60_000;

export interface Config {
  readonly databaseUrl: string;
  readonly mode: 'demo' | 'live';
  /** Default: loopback alone. */
  readonly host?: string;
  /** 0: a free one. */
  readonly port: number;
  /** As browsers see the pages: `https://pay.example`. Default: `http://localhost:<port>`, where passkeys work too. */
  readonly origin?: string;
  readonly operatorToken: string;
  /** CAMARA base URL of a carrier. */
  readonly carrierUrl?: string;
  readonly carrierToken?: string;
  readonly poolMax?: number;
  readonly accountRequestsPerS?: number;
  readonly partnerRestMs?: number;
}

/** What tests put in place of the real ones. */
export interface Overrides {
  readonly clock?: Clock;
  readonly log?: Log;
  readonly policy?: Policy;
  readonly carrier?: LocationVerifier;
  /** Without it, nothing runs by itself. Default: true. */
  readonly housekeeping?: boolean;
}

export interface Running {
  readonly app: App;
  /** `http://127.0.0.1:8480` */
  readonly url: string;
  close(): Promise<void>;
}

export async function start(config: Config, overrides: Overrides = {}): Promise<Running> {
  const log = overrides.log ?? silent;
  const pool = openPool({
    url: config.databaseUrl,
    ...(config.poolMax !== undefined && { poolMax: config.poolMax }),
    onConnectionError: (error) => log.warn({ error: error.message }, 'a connection to the store broke'),
  });
  try {
    await migrate(pool, schema);
    const carrier = overrides.carrier ?? carrierOf(config);
    const app: App = {
      pool,
      clock: overrides.clock ?? systemClock,
      policy: overrides.policy ?? defaultPolicy,
      ...(carrier && { carrier }),
      live: new LiveEvents(),
      background: new Background(),
      places: new NearbyIndex(),
      log,
      mode: config.mode,
      partnerRestMs: config.partnerRestMs ?? partnerRestMsDefault,
    };
    await retain(app);
    await loadPlaces(pool, app.places);
    return await listen(config, app, overrides.housekeeping ?? true);
  } catch (error) {
    await pool.end();
    throw error;
  }
}

async function listen(config: Config, app: App, housekeeping: boolean): Promise<Running> {
  const demo = config.mode === 'demo' ? await openDemo(app) : undefined;
  const rp = { origin: config.origin ?? `http://localhost:${config.port}`, rpId: 'localhost' };
  rp.rpId = new URL(rp.origin).hostname;
  const server = await makeServer({
    app,
    rp,
    operatorToken: config.operatorToken,
    ...(demo && { demo }),
    pages: join(import.meta.dirname, '../web/dist'),
    ...(config.accountRequestsPerS !== undefined && { accountRequestsPerS: config.accountRequestsPerS }),
  });
  const url = await server.listen({ host: config.host ?? '127.0.0.1', port: config.port });
  const stop = housekeeping ? startHousekeeping(app) : async (): Promise<void> => {};
  return {
    app,
    url,
    close: async () => {
      await stop();
      await server.close();
      await app.background.done();
      await app.pool.end();
    },
  };
}

const carrierOf = (config: Config): LocationVerifier | undefined =>
  config.carrierUrl === undefined
    ? undefined
    : carrierClient({
        baseUrl: config.carrierUrl,
        ...(config.carrierToken !== undefined && { token: config.carrierToken }),
        deadlineMs: carrierDeadlineMs,
      });

const silent: Log = { info: () => {}, warn: () => {}, error: () => {} };
