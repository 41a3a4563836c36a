/** S8.3, S8.5: the same bad change while the engine is killed, while a card cannot be reached, and on a card that somebody changed by hand. */
import assert from 'node:assert/strict';
import { after, before, beforeEach, describe, it } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { sql } from 'kysely';
import { exec } from '#base/exec.ts';
import type { FleetBody } from '#contracts/network-objects.ts';
import { canaryPolicy, RolloutLab } from './rolloutLab.ts';

const cutsMetadata: FleetBody = {
  defaultRules: [{ on: 'guest-services', protocol: '6', fromPort: 80, toPort: 80 }],
};
const isOver = ({ phase }: { readonly phase: string }): boolean =>
  ['rolled-back', 'done', 'refused'].includes(phase);

describe('rollouts through faults, on real cards', () => {
  let lab: RolloutLab;
  before(async () => {
    lab = await RolloutLab.create(3);
    await lab.bench.as('alice').createPolicy('canary', canaryPolicy(lab.cards));
    const waves = [{ devices: [0, 1].map((at) => `card/${lab.card(at).vtep}`) }, { rest: true as const }];
    await lab.bench.as('alice').createPolicy('two', canaryPolicy(lab.cards, { waves }));
  });
  after(() => lab[Symbol.asyncDispose]());
  beforeEach(async () => {
    await lab.killEngine();
    lab.startEngine();
  });

  /** Looks as often as it can: what it waits for may not last. */
  const reaches = async (id: string, holds: (phase: string, commanded: number) => boolean): Promise<void> => {
    for (let at = 0; at < 20_000; at += 1) {
      const { rows } = await sql<{ phase: string; commanded: number }>`
        select phase, (select count(*)::int from rollout_device d where d.rollout_id = r.rollout_id
          and d.state in ('commanded', 'applied', 'confirmed')) as commanded
        from rollout r where rollout_id = ${id}`.execute(lab.bench.db);
      const [row] = rows;
      if (row !== undefined && holds(row.phase, row.commanded)) return;
      if (row !== undefined && isOver(row))
        assert.fail(`it is ${row.phase}: ${JSON.stringify(await lab.show(id))}`);
      await delay(2);
    }
    assert.fail('never came to it');
  };

  const engines = async (id: string): Promise<Map<string, string>> =>
    new Map(
      (await lab.audit(id)).flatMap(({ what, to, who }) => (what === 'phase' ? [[to, who] as const] : [])),
    );

  it('S8.5 the engine is killed in mid-wave: the next one goes on there, finds it and takes it back', async (t) => {
    const kernel = await lab.kernels();
    const id = await lab.begin('canary', cutsMetadata);
    await reaches(id, (phase, commanded) => phase === 'applying' && commanded > 0);
    await lab.killEngine();
    lab.startEngine();
    const over = await lab.until(id, 'over', isOver);
    assert.equal(over.phase, 'rolled-back', JSON.stringify(over));
    const who = await engines(id);
    assert.notEqual(who.get('applying'), who.get('rolled-back'));
    t.diagnostic(`${await lab.timesOf(id)}, with another engine from mid-wave on: ${over.failure?.detail}`);
    await lab.isAsBefore(id, kernel);
  });

  it('S8.5 the engine is killed in mid-rollback: the next one completes it', async (t) => {
    const kernel = await lab.kernels();
    const id = await lab.begin('canary', cutsMetadata);
    await reaches(id, (phase) => phase === 'rolling-back');
    await lab.killEngine();
    lab.startEngine();
    const over = await lab.until(id, 'over', isOver);
    assert.equal(over.phase, 'rolled-back', JSON.stringify(over));
    const who = await engines(id);
    assert.notEqual(who.get('rolling-back'), who.get('rolled-back'), 'it was not killed in between');
    t.diagnostic(`${await lab.timesOf(id)}, with another engine from mid-rollback on`);
    await lab.isAsBefore(id, kernel);
  });

  it('S8.3 a card of the first wave cannot be reached throughout: it is never told, the other one is taken back', async (t) => {
    const kernel = await lab.kernels();
    const away = lab.card(1);
    await away.stop('SIGKILL');
    try {
      const id = await lab.begin('two', cutsMetadata);
      const over = await lab.until(id, 'over', isOver);
      assert.equal(over.phase, 'rolled-back', JSON.stringify(over));
      assert.match(over.failure?.detail ?? '', /metadata: not done/);
      const state = over.devices.find(({ deviceId }) => deviceId === `card/${away.vtep}`)?.state;
      assert.equal(state, 'away');
      t.diagnostic(`${await lab.timesOf(id)}, with a card away`);
      await away.start();
      await lab.isAsBefore(id, kernel);
    } finally {
      await away.start().catch(() => undefined);
    }
  });

  it('S8.2 a rule that was changed by hand, their number the same: the card refuses and says which', async (t) => {
    const kernel = await lab.kernels();
    const card = lab.card(0);
    const inside = async (script: string): Promise<string> =>
      (
        await exec('nsenter', [`--net=/run/netns/${card.namespacePrefix}vpc-1`, 'sh', '-e', '-s'], {
          input: script,
        })
      ).stdout;
    await inside(`h=$(nft -a list chain inet pando input | sed -n 's/.*related accept # handle //p')
nft replace rule inet pando input handle $h ct state related drop
`);
    const id = await lab.begin('canary', { linkLocalPacketsPerS: 900 });
    const over = await lab.until(id, 'over', isOver);
    assert.equal(over.phase, 'rolled-back');
    assert.match(over.failure?.detail ?? '', /Drift.*chain inet pando input (lacks|has)/);
    assert.equal(over.devices.find(({ deviceId }) => deviceId === `card/${card.vtep}`)?.state, 'drifted');
    t.diagnostic(over.failure?.detail ?? '');
    assert.match(await inside('nft list chain inet pando input'), /ct state related drop/, 'left as it is');
    const again = await lab.until(await lab.begin('canary', { linkLocalPacketsPerS: 900 }), 'over', isOver);
    assert.equal(again.phase, 'rolled-back', 'still there, still refused');
    await card.stop('SIGKILL');
    await card.start();
    await lab.isAsBefore(id, kernel);
  });
});
