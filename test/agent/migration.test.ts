import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { newId } from '#contracts/ids.ts';
import { budgetMsMax, key, Lab, type TestHost, until } from './lab.ts';

describe('a VM that moves between two hosts', () => {
  let lab: Lab;
  let source: TestHost;
  let target: TestHost;
  before(async () => {
    lab = await Lab.open();
    source = await (await lab.host()).start();
    target = await (await lab.host()).start();
  });
  after(() => lab.close());

  /** The listeners of a target that waits for it. */
  const open = async (from: TestHost, instanceId: string, to = target) => {
    const { peer } = await from.call('migrate.offer', { command: key(), instanceId });
    assert.ok(peer);
    // Not told where the source's agent answers, the target waits for its cell (handover.test.ts has the other way).
    const told = { ...peer, handover: undefined };
    const { migration, state } = await to.launch(instanceId, { incoming: true, peer: told });
    assert.equal(state, 'incoming');
    assert.ok(migration);
    return migration;
  };
  /** A running guest with something on its disk, and a target that waits for it. */
  const ready = async (from = source, diskKib = 64) => {
    const instanceId = newId('instance');
    await from.launch(instanceId);
    await until('the guest runs', async () => (await from.round(instanceId)) > 2);
    await from.hmp(
      instanceId,
      `qemu-io -d /machine/peripheral/vda/virtio-backend "write -P 0x5a 1M ${diskKib}k"`,
    );
    return { instanceId, listeners: await open(from, instanceId) };
  };
  const begin = async (): Promise<string> => {
    const { instanceId, listeners } = await ready();
    await source.call('migrate.start', { command: key(), instanceId, ...listeners });
    return instanceId;
  };
  /** The target's VMM stops answering, as a machine without power would: no connection is closed. */
  const silence = (instanceId: string): void => {
    const pid = target.agent.host.get(instanceId).record.process?.pid;
    assert.ok(pid !== undefined);
    process.kill(pid, 'SIGSTOP');
  };
  const countsOn = async (host: TestHost, instanceId: string): Promise<void> => {
    const round = await host.round(instanceId);
    await until('it counts', async () => (await host.round(instanceId)) > round);
  };
  const converged = (instanceId: string, from = source) =>
    until('the copy converges', async () => {
      const { phase, reason } = await from.call('migrate.progress', { instanceId });
      assert.notEqual(phase, 'failed', reason);
      return phase === 'converged';
    });
  const destroy = async (instanceId: string): Promise<void> => {
    for (const host of [source, target]) await host.call('vm.destroy', { command: key(), instanceId });
  };
  const running = async (host: TestHost, instanceId: string): Promise<boolean> =>
    /VM status: running/.test(await host.hmp(instanceId, 'info status'));

  it('arrives with its memory and its disk, and runs in one place only (S6.5)', async () => {
    const instanceId = await begin();
    await converged(instanceId);
    assert.ok(await running(source, instanceId));
    await source.hmp(instanceId, 'qemu-io -d /machine/peripheral/vda/virtio-backend "write -P 0x77 1M 64k"'); // After convergence: mirrored at once.
    const { downtimeMs } = await source.call('migrate.switch', {
      command: key(),
      instanceId,
      budgetMs: budgetMsMax,
    });
    assert.ok(downtimeMs >= 0);
    assert.equal(await running(source, instanceId), false);
    assert.equal(await running(target, instanceId), false);
    // What the source has sent to the last byte is still being loaded there for a moment.
    await until('all of it is loaded', async () =>
      /completed/.test(await target.hmp(instanceId, 'info migrate')),
    );
    const samples = [
      'xp /1wx 0x7000',
      'xp /4wx 0x10000',
      'xp /4wx 0x4fff0',
      'xp /4wx 0x8fff0',
      'xp /8wx 0x7c00',
    ];
    for (const sample of samples)
      assert.equal(await target.hmp(instanceId, sample), await source.hmp(instanceId, sample), sample);
    const round = await source.round(instanceId);
    await assert.rejects(source.call('migrate.cancel', { command: key(), instanceId }), /only forward/);
    assert.equal((await source.call('migrate.progress', { instanceId })).phase, 'completed');
    await target.call('migrate.commission', { command: key(), instanceId });
    await target.call('migrate.confirm', { command: key(), instanceId });
    await until('it goes on counting', async () => (await target.round(instanceId)) > round + 2);
    assert.equal((await source.call('vm.describe', { instanceId })).state, 'paused');
    assert.equal((await target.call('vm.describe', { instanceId })).state, 'running');
    const eniId = instanceId.replace('i-', 'eni-');
    const forward = { eniId, forwardTo: '198.18.1.12' };
    await source.call('card.call', { method: 'card.detachPort', params: forward });
    await source.call('vm.destroy', { command: key(), instanceId });
    const detached = lab.cardCalls
      .filter(({ method }) => method === 'detachPort')
      .map(({ params }) => params);
    assert.deepEqual(detached, [forward], 'the source card goes on forwarding (S6.6)');
    await target.call('vm.stop', { command: key(), instanceId, force: true, graceMs: 0 });
    await target.checkDisk(instanceId, '0x77');
    await destroy(instanceId);
  });

  it('runs on at the source when it is cancelled while copying, and moves later', async () => {
    const instanceId = await begin();
    await converged(instanceId);
    const cancel = { command: key(), instanceId };
    assert.equal((await source.call('migrate.cancel', cancel)).state, 'running');
    assert.equal((await source.call('migrate.cancel', { ...cancel, command: key() })).state, 'running');
    const round = await source.round(instanceId);
    await until('it counts', async () => (await source.round(instanceId)) > round);
    await target.call('vm.destroy', { command: key(), instanceId });
    await source.call('migrate.start', {
      command: key(),
      instanceId,
      ...(await open(source, instanceId)),
    });
    await converged(instanceId);
    await source.call('migrate.switch', { command: key(), instanceId, budgetMs: budgetMsMax });
    await target.call('migrate.commission', { command: key(), instanceId });
    await destroy(instanceId);
  });

  it('runs on at the source when the target dies, and moves later', async () => {
    const instanceId = await begin();
    await converged(instanceId);
    await target.call('vm.destroy', { command: key(), instanceId });
    await until(
      'the failure is told',
      async () => (await source.call('migrate.progress', { instanceId })).phase === 'failed',
    );
    const round = await source.round(instanceId);
    await until('it counts', async () => (await source.round(instanceId)) > round);
    await assert.rejects(source.call('migrate.switch', { command: key(), instanceId, budgetMs: 1_000 }));
    await source.call('migrate.cancel', { command: key(), instanceId });
    await source.call('migrate.start', {
      command: key(),
      instanceId,
      ...(await open(source, instanceId)),
    });
    await converged(instanceId);
    await source.call('migrate.switch', { command: key(), instanceId, budgetMs: budgetMsMax });
    await target.call('migrate.commission', { command: key(), instanceId });
    await destroy(instanceId);
  });

  it('is not switched before its memory was sent', async () => {
    const { instanceId, listeners } = await ready(source, 2_048);
    await source.call('migrate.start', {
      command: key(),
      instanceId,
      ...listeners,
      bandwidthMaxMibPerS: 0.2,
    });
    await assert.rejects(
      source.call('migrate.switch', { command: key(), instanceId, budgetMs: 1_000 }),
      /no memory has been sent/,
    );
    await countsOn(source, instanceId);
    await destroy(instanceId);
  });

  it('runs on at the source when the target says nothing, from the start or in the middle', async () => {
    const careful = await (await lab.host({ migrationStallMsMax: 2_000 })).start();
    const deaf = await ready(careful);
    silence(deaf.instanceId);
    await assert.rejects(
      careful.call('migrate.start', { command: key(), instanceId: deaf.instanceId, ...deaf.listeners }),
    );
    await countsOn(careful, deaf.instanceId);
    const { instanceId, listeners } = await ready(careful, 2_048);
    await careful.call('migrate.start', {
      command: key(),
      instanceId,
      ...listeners,
      bandwidthMaxMibPerS: 0.2,
    });
    silence(instanceId);
    await until('the standstill is noticed', async () => {
      const { phase, reason } = await careful.call('migrate.progress', { instanceId });
      if (phase === 'failed') assert.match(reason ?? '', /does not answer/);
      return phase === 'failed';
    });
    await careful.hmp(instanceId, 'qemu-io -d /machine/peripheral/vda/virtio-backend "write -P 0x77 1M 64k"');
    await countsOn(careful, instanceId);
    for (const id of [deaf.instanceId, instanceId]) await destroy(id);
  });

  it('moves there and back again, and there once more', async () => {
    const { instanceId, listeners } = await ready();
    let [from, to, next] = [source, target, listeners];
    for (let moves = 1; moves <= 3; moves++) {
      if (moves > 1) next = await open(from, instanceId, to);
      await from.call('migrate.start', { command: key(), instanceId, ...next });
      await converged(instanceId, from);
      const round = await from.round(instanceId);
      await from.call('migrate.switch', { command: key(), instanceId, budgetMs: budgetMsMax });
      await to.call('migrate.commission', { command: key(), instanceId });
      await until('it goes on counting', async () => (await to.round(instanceId)) > round);
      await from.call('vm.destroy', { command: key(), instanceId });
      [from, to] = [to, from];
    }
    await destroy(instanceId);
  });

  it('goes on under a new agent of the source', async () => {
    const instanceId = await begin();
    source.stop();
    await source.start();
    await converged(instanceId);
    await source.call('migrate.switch', { command: key(), instanceId, budgetMs: budgetMsMax });
    source.stop();
    await source.start();
    assert.equal((await source.call('vm.describe', { instanceId })).state, 'paused');
    await target.call('migrate.commission', { command: key(), instanceId });
    await destroy(instanceId);
  });
});
