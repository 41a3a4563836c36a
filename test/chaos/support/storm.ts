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

/** Kills until the time is over. Returns how often each process died. */
const killer = async (
  region: StormRegion,
  random: Random,
  options: StormOptions,
  log: (line: string) => void,
) => {
  const deaths = new Map<string, number>();
  const end = monotonicMs() + options.ms;
  const [first, ...rest] = region.victims;
  assert.ok(first);
  for (;;) {
    const pause = random.between(...options.killEveryMs);
    const victim = random.pick([first, ...rest]);
    if (monotonicMs() + pause > end) break;
    await delay(pause);
    // A dead one cannot die: the draw is spent all the same, so that the sequence is the same each time.
    if (victim.kill()) deaths.set(victim.name, (deaths.get(victim.name) ?? 0) + 1);
    log(`kill ${victim.name}`);
  }
  return deaths;
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

const settled = async (region: StormRegion, ledger: Ledger): Promise<{ ms: number; problems: string[] }> => {
  const begun = monotonicMs();
  for (;;) {
    // A store may still be starting.
    const problems = await problemsOf(region, ledger).catch((error: Error) => [error.message]);
    const ms = monotonicMs() - begun;
    if (problems.length === 0 || ms > settleMsMax) return { ms, problems };
    await delay(500);
  }
};

const figures = (map: ReadonlyMap<string, number>): string =>
  [...map]
    .sort()
    .map(([name, count]) => `${name} ${count}`)
    .join(', ');

export const storm = async (t: TestContext, options: StormOptions): Promise<void> => {
  const say = (line: string): void => t.diagnostic(line);
  say(`PANDO_SEED=${seed} plays this again`);
  const region = await StormRegion.start();
  try {
    const ledger = new Ledger();
    const { accountId: _, ...key } = await region.account('storm');
    const over = new AbortController();
    const users = Array.from({ length: options.users }, (_each, at) => {
      const random = randomOf(`user-${at}`);
      const migrate = migrator(region, randomOf(`operator-${at}`), ledger);
      const { port, imageId } = region;
      return new User({ port, region: regionName, key, imageId, random, ledger, migrate });
    });
    const living = Promise.all(users.map((user) => user.live(over.signal)));
    // Whoever gives up has said why: the books are still looked at.
    const given = living.catch((error: Error) => void ledger.complaints.push(error.message));
    const verbose = process.env.PANDO_STORM_LOG !== undefined;
    const deaths = await killer(
      region,
      randomOf('killer'),
      options,
      (line) => verbose && console.error(line),
    );
    over.abort();
    const end = monotonicMs();
    await given;
    const lingeredMs = monotonicMs() - end;
    const { ms, problems } = await settled(region, ledger);
    say(`killed: ${figures(deaths)}`);
    say(`answered: ${figures(ledger.acknowledged)}`);
    say(`failed tries: ${figures(ledger.refused)}`);
    say(
      `longest until an answer ${(ledger.longestRetryMs / 1000).toFixed(1)} s; the last one was answered ${(lingeredMs / 1000).toFixed(1)} s after the storm; books balanced ${(ms / 1000).toFixed(1)} s later`,
    );
    say(`instances: ${ledger.promised.length}`);
    assert.deepEqual(problems.slice(0, shownMax), [], `PANDO_SEED=${seed}`);
    assert.ok(ledger.promised.length > options.users, 'something was asked for');
  } finally {
    await region.stop();
  }
};
