/**
 * S8.7: bad changes under a canary policy, on real cards with real packets. Each touches no more than the first wave, is found by what is
 * measured, is taken back, and what the kernel shows afterwards is what it showed before.
 */
import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { exec } from '#base/exec.ts';
import type { FleetBody } from '#contracts/network-objects.ts';
import type { LabCard } from './lab.ts';
import { canaryPolicy, RolloutLab, seconds } from './rolloutLab.ts';

type Lab = RolloutLab;

const macOf = async (card: LabCard): Promise<string> =>
  (await exec('ip', ['netns', 'exec', card.netns, 'cat', '/sys/class/net/ul/address'])).stdout.trim();

interface Bad {
  readonly what: string;
  readonly body: (lab: Lab) => Promise<FleetBody>;
  /** What finds it. */
  readonly found: RegExp;
  /** What does not notice. */
  readonly unseen?: RegExp;
}

const bads: readonly Bad[] = [
  {
    what: '(a) a rule that cuts metadata',
    body: async () => ({
      defaultRules: [{ on: 'guest-services', protocol: '6', fromPort: 80, toPort: 80 }],
    }),
    found: /metadata: not done/,
    unseen: /overlay|tcp/,
  },
  {
    what: '(b) a route that drops a half of the packets',
    body: async (lab) => ({
      underlay: { blackholes: [`${lab.card(1).vtep}/32`, `${lab.card(2).vtep}/32`] },
    }),
    found: /overlay: \d+ % of datagrams lost/,
    unseen: /metadata/,
  },
  {
    what: '(c) an entry to a wrong card',
    body: async (lab) => ({
      underlay: { neighbours: [{ ip: lab.card(1).vtep, mac: await macOf(lab.card(2)) }] },
    }),
    found: /overlay: \d+ % of datagrams lost/,
    unseen: /metadata/,
  },
  {
    what: '(d) an MTU that lets pings pass and breaks TCP',
    body: async () => ({ underlay: { mtu: 1_200 } }),
    found: /tcp to [\d.]+: not done/,
    unseen: /overlay: |metadata/,
  },
  {
    what: '(e) a rule that cuts the card’s own control connection',
    body: async () => ({ underlay: { closed: [{ protocol: 'tcp', port: 7_000 }] } }),
    found: /went back by itself|cannot be reached|no answer/,
  },
];

describe('bad changes under a canary policy, on real cards', () => {
  let lab: Lab;
  before(async () => {
    lab = await RolloutLab.create(4);
    await lab.bench.as('alice').createPolicy('canary', canaryPolicy(lab.cards));
    lab.startEngine();
  });
  after(() => lab[Symbol.asyncDispose]());

  it('a good change goes through both waves, and back', async (t) => {
    const kernel = await lab.kernels();
    const id = await lab.begin('canary', { linkLocalPacketsPerS: 900 });
    const done = await lab.until(
      id,
      'done',
      ({ phase }) => phase === 'done' || phase === 'refused' || phase === 'rolled-back',
    );
    assert.equal(done.phase, 'done', JSON.stringify(done.failure));
    for (const card of lab.cards) assert.match(await lab.kernel(card), /ul/);
    const { rolloutId = '' } = await lab.bench.as('alice').start('canary', null);
    await lab.until(rolloutId, 'done', ({ phase }) => phase === 'done');
    assert.deepEqual(await lab.kernels(), kernel);
    t.diagnostic(`through two waves in ${seconds(done.createdAt, done.endedAt)} s`);
  });

  for (const { what, body, found, unseen } of bads)
    it(`S8.7 ${what}`, async (t) => {
      const kernel = await lab.kernels();
      const id = await lab.begin('canary', await body(lab));
      const over = await lab.until(id, 'over', ({ phase }) =>
        ['rolled-back', 'done', 'refused'].includes(phase),
      );
      assert.equal(over.phase, 'rolled-back', JSON.stringify(over));
      assert.match(over.failure?.detail ?? '', found);
      if (unseen !== undefined) assert.doesNotMatch(over.failure?.detail ?? '', unseen);
      t.diagnostic(`${what}: ${await lab.timesOf(id)}: ${over.failure?.detail}`);
      await lab.isAsBefore(id, kernel);
    });
});
