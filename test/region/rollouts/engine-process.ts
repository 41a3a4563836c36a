/** An engine of rollouts in a process of its own, to be killed: `engine-process.ts NAME DATABASE CARDS CA CERT KEY`; CARDS is JSON. */
import { readFileSync } from 'node:fs';
import { pino } from 'pino';
import { openDatabase } from '#base/postgres/database.ts';
import { RolloutEngine } from '#region/rollouts/engine.ts';
import { ProbeMeter } from '#region/rollouts/probe-meter.ts';
import type { RegionSchema } from '#region/schema.ts';
import { type CardAddress, CardFleet } from './card-fleet.ts';

const [name = '', url = '', cards = '', ca = '', cert = '', key = ''] = process.argv.slice(2);
const read = (path: string): string => readFileSync(path, 'utf8');
const addresses: CardAddress[] = JSON.parse(cards);
const fleet = new CardFleet(addresses, { ca: read(ca), cert: read(cert), key: read(key) });
const db = openDatabase<RegionSchema>({ url, poolMax: 4, name, onConnectionError: () => undefined });
const now = (): number => Date.now();
new RolloutEngine({
  ...{ db, fleet, name, now, meter: new ProbeMeter({ fleet, now, mtu: 1_400 }) },
  log: pino({ level: process.env.PANDO_LOG ?? 'warn' }, pino.destination(2)),
  ...{ tickMs: 50, leaseTtlMs: 1_500 },
  timing: { awayMsMin: 1_500, backoffMsMin: 50, backoffMsMax: 500 },
}).start();
process.stdin.resume().once('end', () => process.exit(0));
