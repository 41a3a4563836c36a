/**
 * S8.6: a new version of the card's program is itself a rollout, on real cards with packets that flow. A good one goes through all waves; one
 * that ends, hangs, is deaf or does its work badly stays with the canary, which goes back to the one before.
 */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { after, before, describe, it } from 'node:test';
import { eventually, type LabCard } from '../lab.ts';
import { canaryPolicy, RolloutLab, seconds } from '../rolloutLab.ts';
import { keepChanged } from './trees.ts';

const main = 'src/card/main.ts';
const first = (line: string) => (source: string) => `${line}\n${source}`;
/** Processes begin anew one after the other, on a machine that may be busy. */
const untilMs = 240_000;
const isOver = ({ phase }: { readonly phase: string }): boolean =>
  ['rolled-back', 'done', 'refused'].includes(phase);

interface Bad {
  readonly what: string;
  readonly file: string;
  readonly change: (source: string) => string;
  /** What finds it. */
  readonly found: RegExp;
  /** Only its time ends the trial: the policy that gives little of it. */
  readonly policy?: 'brief';
}

const bads: readonly Bad[] = [
  {
    ...{ what: 'ends at its start', file: main, change: first('process.exit(3);') },
    found: /ProgramFailed: program [0-9a-f]{16} ended before it was confirmed/,
  },
  {
    ...{ what: 'hangs at its start', file: main, policy: 'brief' },
    change: first('await new Promise(() => setInterval(() => undefined, 1_000));'),
    found: /ProgramFailed: program [0-9a-f]{16} was not confirmed in \d+ ms/,
  },
  {
    ...{ what: 'comes up and does not hear its agent', file: main, policy: 'brief' },
    change: (source) => source.replace('port: config.listen.port,', 'port: config.listen.port + 1,'),
    found: /ProgramFailed: .*was not confirmed in/,
  },
  {
    ...{ what: 'answers its agent and no guest', file: 'src/card/guestServices/main.ts' },
    change: first('process.exit(1);'),
    found: /metadata: not done|Metadata and DHCP .* do not answer/,
  },
];

describe('versions of the card’s program, on real cards', () => {
  let lab: RolloutLab;
  let programsDir: string;
  before(async () => {
    programsDir = await mkdtemp(join(tmpdir(), 'pando-programs-'));
    lab = await RolloutLab.create(3, { programsDir });
    for (const [name, confirmMs] of [
      ['canary', 60_000],
      ['brief', 8_000],
    ] as const)
      await lab.bench.as('alice').createPolicy(name, canaryPolicy(lab.cards, { confirmMs }));
    lab.startEngine();
  });
  after(async () => {
    await lab[Symbol.asyncDispose]();
    await rm(programsDir, { recursive: true, force: true });
  });

  const status = (card: LabCard) =>
    eventually(
      () => card.client.call('card.status', {}).catch(() => undefined),
      (answer) => answer !== undefined,
    );
  const versions = () => Promise.all(lab.cards.map(async (card) => (await status(card))?.program));
  const startTimes = () => Promise.all(lab.cards.map(async (card) => (await status(card))?.startedAt));

  /** Pings between tenants of the first and the last card while `work` is done; answers how many of how many were lost. */
  const pinging = async (work: () => Promise<void>): Promise<{ sent: number; lost: number }> => {
    const [a, b] = lab.vms;
    assert.ok(a !== undefined && b !== undefined);
    const ping = a.start('ping', ['-q', '-i', '0.02', '-W', '5', b.port.ip]);
    assert.ok(ping.stdout !== null);
    const said = text(ping.stdout);
    try {
      await work();
    } finally {
      ping.kill('SIGINT');
      await once(ping, 'exit');
    }
    const [, sent = '', received = ''] = /(\d+) packets transmitted, (\d+) received/.exec(await said) ?? [];
    return { sent: Number(sent), lost: Number(sent) - Number(received) };
  };

  it('S8.6 a good version goes through both waves while packets flow, outlives a kill, and is taken away again', async (t) => {
    const [own] = await versions();
    const kernel = await lab.kernels();
    const version = keepChanged(
      programsDir,
      'src/card/limits.ts',
      (source) => `${source}// Another version.\n`,
    );
    const packets = await pinging(async () => {
      const id = await lab.begin('canary', { cardProgram: version });
      const done = await lab.until(id, 'over', isOver, untilMs);
      assert.equal(done.phase, 'done', JSON.stringify(done.failure));
      t.diagnostic(`through two waves in ${seconds(done.createdAt, done.endedAt)} s`);
      assert.deepEqual(
        await versions(),
        lab.cards.map(() => version),
      );
      const card = lab.card(0);
      await card.stop('SIGKILL');
      await card.start();
      assert.equal((await status(card))?.program, version, 'what is settled runs after a kill too');
      const { rolloutId = '' } = await lab.bench.as('alice').start('canary', null);
      const back = await lab.until(rolloutId, 'over', isOver, untilMs);
      assert.equal(back.phase, 'done', JSON.stringify(back.failure));
    });
    t.diagnostic(`${packets.lost} of ${packets.sent} pings lost while every card's process began anew`);
    assert.ok(packets.sent > 50 && packets.lost <= 1, 'the last one may be on its way');
    assert.deepEqual(
      await versions(),
      lab.cards.map(() => own),
    );
    assert.deepEqual(await lab.kernels(), kernel);
    await lab.tenantsWork();
  });

  it('S8.6 a version that is not kept on the host is refused, and no process ends', async () => {
    const began = await startTimes();
    const id = await lab.begin('canary', { cardProgram: '0123456789abcdef' });
    const over = await lab.until(id, 'over', isOver, untilMs);
    assert.equal(over.phase, 'rolled-back');
    assert.match(over.failure?.detail ?? '', /0123456789abcdef is not on this host/);
    assert.deepEqual(await startTimes(), began);
  });

  for (const { what, file, change, found, policy = 'canary' } of bads)
    it(`S8.6 a version that ${what} stays with the canary, which goes back`, async (t) => {
      const [own] = await versions();
      const [, ...others] = await startTimes();
      const kernel = await lab.kernels();
      const version = keepChanged(programsDir, file, change);
      let id = '';
      const packets = await pinging(async () => {
        id = await lab.begin(policy, { cardProgram: version });
        const over = await lab.until(id, 'over', isOver, untilMs);
        assert.equal(over.phase, 'rolled-back', JSON.stringify(over));
        assert.match(over.failure?.detail ?? '', found);
        t.diagnostic(`${what}: ${await lab.timesOf(id)}: ${over.failure?.detail}`);
      });
      t.diagnostic(`${packets.lost} of ${packets.sent} pings lost`);
      assert.ok(packets.lost <= 1);
      assert.deepEqual(
        await versions(),
        lab.cards.map(() => own),
      );
      assert.deepEqual((await startTimes()).slice(1), others, 'no other card began anew');
      await lab.isAsBefore(id, kernel);
    });
});
