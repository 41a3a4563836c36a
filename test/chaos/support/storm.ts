/** A storm: users at work while a random process dies every few seconds, then a while to settle, then the books. */
import assert from 'node:assert/strict';
import type { TestContext } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { monotonicMs } from '#base/monotonic.ts';
import { problemsOf } from './books.ts';
import { type Random, randomOf, seed } from './random.ts';
import { regionName, StormRegion } from './region.ts';
import { Ledger, User } from './users.ts';

const settleMsMax = 60_000;
const shownMax = 40;

export interface StormOptions {
  readonly ms: number;
  readonly users: number;
  readonly killEveryMs: readonly [number, number];
}

/** What can die. False: it is dead already. */
export interface Victim {
  readonly name: string;
  kill(): boolean | Promise<boolean>;
}

/** Kills until the time is over. Returns how often each process died. */
export const killAtRandom = async (
  victims: readonly Victim[],
  random: Random,
  { ms, killEveryMs }: Pick<StormOptions, 'ms' | 'killEveryMs'>,
): Promise<Map<string, number>> => {
  const deaths = new Map<string, number>();
  const end = monotonicMs() + ms;
  const [first, ...rest] = victims;
  assert.ok(first);
  for (;;) {
    const pause = random.between(...killEveryMs);
    const victim = random.pick([first, ...rest]);
    if (monotonicMs() + pause > end) return deaths;
    await delay(pause);
    // A dead one cannot die: the draw is spent all the same, so that the sequence is the same each time.
    if (await victim.kill()) deaths.set(victim.name, (deaths.get(victim.name) ?? 0) + 1);
    if (process.env.PANDO_STORM_LOG !== undefined) console.error(`kill ${victim.name}`);
  }
};

/** Moves an instance by way of either processor of its cell, or not. */
const migrator =
  (region: StormRegion, random: Random, ledger: Ledger) =>
  async (instanceId: string): Promise<void> => {
    const at = random.between(0, 1);
    const number = Number.parseInt(instanceId.slice(2, 5), 16);
    const cell = region.cells.find((each) => each.number === number);
    const operator = cell?.operators[at];
    await operator?.call('operator.migrate', { instanceId }, { timeoutMs: 5_000 }).then(
      () => ledger.count(ledger.acknowledged, 'migrate'),
      (error: Error & { code?: string }) => ledger.count(ledger.refused, `migrate: ${error.code}`),
    );
  };

/** Looks until everything agrees, for as long as it may take to settle. */
export const settles = async (
  look: () => Promise<string[]>,
  msMax = settleMsMax,
): Promise<{ ms: number; problems: string[] }> => {
  const begun = monotonicMs();
  for (;;) {
    // A store may still be starting.
    const problems = await look().catch((error: Error) => [error.message]);
    const ms = monotonicMs() - begun;
    if (problems.length === 0 || ms > msMax) return { ms, problems };
    await delay(500);
  }
};

const figures = (map: ReadonlyMap<string, number>): string =>
  [...map]
    .sort()
    .map(([name, count]) => `${name} ${count}`)
    .join(', ');

/** Lets users live through a storm: they act while processes die, and ask to the end for what they have begun to ask for. */
export const liveThrough = async (
  users: readonly User[],
  ledger: Ledger,
  kill: () => Promise<Map<string, number>>,
): Promise<string[]> => {
  const over = new AbortController();
  const living = Promise.all(users.map((user) => user.live(over.signal)));
  // Whoever gives up has said why: the books are still looked at.
  const given = living.catch((error: Error) => void ledger.complaints.push(error.message));
  const deaths = await kill();
  over.abort();
  const end = monotonicMs();
  await given;
  const seconds = (ms: number): string => `${(ms / 1000).toFixed(1)} s`;
  return [
    `killed: ${figures(deaths)}`,
    `answered: ${figures(ledger.acknowledged)}`,
    `failed tries: ${figures(ledger.refused)}`,
    `instances: ${ledger.promised.length}; longest until an answer ${seconds(ledger.longestRetryMs)}; the last one ${seconds(monotonicMs() - end)} after the storm`,
  ];
};

export const storm = async (t: TestContext, options: StormOptions): Promise<void> => {
  t.diagnostic(`PANDO_SEED=${seed} plays this again`);
  const region = await StormRegion.start();
  try {
    const ledger = new Ledger();
    const { accountId: _, ...key } = await region.account('storm');
    const users = Array.from({ length: options.users }, (_each, at) => {
      const random = randomOf(`user-${at}`);
      const migrate = migrator(region, randomOf(`operator-${at}`), ledger);
      const { imageId } = region;
      const endpoint = `http://127.0.0.1:${region.port}`;
      return new User({ endpoint, region: regionName, key, imageId, random, ledger, migrate });
    });
    const kill = () => killAtRandom(region.victims, randomOf('killer'), options);
    for (const line of await liveThrough(users, ledger, kill)) t.diagnostic(line);
    const { ms, problems } = await settles(() => problemsOf(region, ledger));
    t.diagnostic(`the books balanced ${(ms / 1000).toFixed(1)} s after that`);
    assert.deepEqual(problems.slice(0, shownMax), [], `PANDO_SEED=${seed}`);
    assert.ok(ledger.promised.length > options.users, 'something was asked for');
  } finally {
    await region.stop();
  }
};
