/** The application's process: configuration from the environment, logs as JSON lines, a clean end on SIGTERM. */
import { randomBytes } from 'node:crypto';
import { z } from 'zod';
import type { Log } from './app.ts';
import { startCarrierStandIn } from './carrier/stand-in.ts';
import { start } from './start.ts';

const port = z.coerce.number().int().min(0).max(65_535);

const Environment = z.object({
  /** PostgreSQL 15 or newer. */
  PAYMENTS_DATABASE_URL: z.string().min(1),
  PAYMENTS_MODE: z.enum(['demo', 'live']).default('live'),
  PAYMENTS_HOST: z.string().default('127.0.0.1'),
  PAYMENTS_PORT: port.default(8480),
  PAYMENTS_ORIGIN: z.url().optional(),
  PAYMENTS_OPERATOR_TOKEN: z.string().min(16).optional(),
  PAYMENTS_CARRIER_URL: z.url().optional(),
  PAYMENTS_CARRIER_TOKEN: z.string().optional(),
});

const line =
  (level: string) =>
  (fields: object, message: string): void =>
    void process.stdout.write(
      `${JSON.stringify({ time: new Date().toISOString(), level, ...fields, message })}\n`,
    );
const log: Log = { info: line('info'), warn: line('warn'), error: line('error') };

const parsed = Environment.safeParse(process.env);
if (!parsed.success) {
  for (const issue of parsed.error.issues) log.error({}, `${issue.path.join('.')}: ${issue.message}`);
  process.exit(2);
}
const env = parsed.data;
const operatorToken = env.PAYMENTS_OPERATOR_TOKEN ?? randomBytes(18).toString('base64url');
// A demo without a carrier has one that knows no phone yet: its answers are CAMARA's 422.
const carrier =
  env.PAYMENTS_MODE === 'demo' && env.PAYMENTS_CARRIER_URL === undefined
    ? await startCarrierStandIn({ clock: () => Date.now() })
    : undefined;
const carrierUrl = env.PAYMENTS_CARRIER_URL ?? carrier?.baseUrl;

const running = await start(
  {
    databaseUrl: env.PAYMENTS_DATABASE_URL,
    mode: env.PAYMENTS_MODE,
    host: env.PAYMENTS_HOST,
    port: env.PAYMENTS_PORT,
    operatorToken,
    ...(env.PAYMENTS_ORIGIN !== undefined && { origin: env.PAYMENTS_ORIGIN }),
    ...(carrierUrl !== undefined && { carrierUrl }),
    ...(env.PAYMENTS_CARRIER_TOKEN !== undefined && { carrierToken: env.PAYMENTS_CARRIER_TOKEN }),
  },
  { log },
);
log.info({ url: running.url, mode: env.PAYMENTS_MODE }, 'ready');
if (env.PAYMENTS_OPERATOR_TOKEN === undefined)
  process.stderr.write(`The operator’s token for this run: ${operatorToken}\n`);

for (const signal of ['SIGTERM', 'SIGINT'] as const)
  process.once(signal, () => {
    log.info({ signal }, 'ending');
    void Promise.all([running.close(), carrier?.close()]).then(() => process.exit(0));
  });
