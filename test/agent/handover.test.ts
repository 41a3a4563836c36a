/** A switch that nobody follows up: the guest runs in one place all the same, and its packets go there. */
import assert from 'node:assert/strict';
import { readFile, writeFile } from 'node:fs/promises';
import { after, afterEach, before, describe, it } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { PandoError } from '#contracts/errors.ts';
import { newId } from '#contracts/ids.ts';
import { key, Lab, type TestHost, until } from './lab.ts';

const queue = { ip: '198.18.1.12', port: 20_000 };
const budgetMs = 1_500;
/** What peers may wait at most: named in PROMISES.md (S7.4). */
const answersMsMax = 2_000;

describe('a migration whose cell is gone', () => {
  let lab: Lab;
  let source: TestHost;
  let target: TestHost;
  before(async () => {
    lab = await Lab.open();
    source = await (await lab.host()).start();
    target = await (await lab.host()).start();
  });
  after(() => lab.close());
  afterEach(async () => {
    lab.onRedirect = undefined;
    for (const host of [source, target]) {
      if (!host.runs) await host.start();
      for (const { record } of host.agent.host.vms)
        await host.call('vm.destroy', { command: key(), instanceId: record.instanceId });
    }
    lab.cardCalls.length = 0;
  });

  const eniOf = (instanceId: string): string => instanceId.replace('i-', 'eni-');
  const running = async (host: TestHost, instanceId: string): Promise<boolean> =>
    /VM status: running/.test(await host.hmp(instanceId, 'info status'));
  /** A guest whose copy has converged. */
  const converged = async (): Promise<string> => {
    const instanceId = newId('instance');
    await source.launch(instanceId);
    await until('the guest runs', async () => (await source.round(instanceId)) > 2);
    const { peer } = await source.call('migrate.offer', { command: key(), instanceId });
    const { migration } = await target.launch(instanceId, { incoming: true, peer });
    assert.ok(migration);
    await source.call('migrate.start', { command: key(), instanceId, ...migration });
    await until('the copy converges', async () => {
      const { phase, reason } = await source.call('migrate.progress', { instanceId });
      assert.notEqual(phase, 'failed', reason);
      return phase === 'converged';
    });
    return instanceId;
  };
  const switchOf = (instanceId: string) =>
    source.call('migrate.switch', {
      command: key(),
      instanceId,
      budgetMs,
      redirect: { eniId: eniOf(instanceId), to: queue },
    });
  const countsOn = async (host: TestHost, instanceId: string): Promise<void> => {
    const round = await host.round(instanceId);
    await until('it counts', async () => (await host.round(instanceId)) > round);
  };
  const redirections = () =>
    lab.cardCalls.filter(({ method }) => method === 'redirectPort').map(({ params }) => params);
  const settled = (instanceId: string): boolean =>
    lab.cardCalls.some(
      ({ method, params }) =>
        method === 'setQueue' &&
        JSON.stringify(params) === JSON.stringify({ eniId: eniOf(instanceId), mode: 'pass', settled: true }),
    );

  it('commissions the guest on the target once the source has handed it over, and the cell finds it so', async () => {
    const instanceId = await converged();
    await switchOf(instanceId);
    const began = performance.now();
    await until('it runs on the target', () => running(target, instanceId));
    assert.ok(performance.now() - began < answersMsMax);
    assert.equal(await running(source, instanceId), false);
    await until('its packets are let go', () => settled(instanceId));
    await until('the redirection is kept', () => redirections().length === 2);
    const way = { eniId: eniOf(instanceId), to: queue };
    assert.deepEqual(redirections(), [
      { ...way, lapseMs: budgetMs + 500 },
      { ...way, keep: true },
    ]);
    // A processor that takes over repeats the commissioning: the same as once.
    const release = { eniId: eniOf(instanceId) };
    await target.call('migrate.commission', { command: key(), instanceId, release });
    await target.call('migrate.confirm', { command: key(), instanceId });
    await countsOn(target, instanceId);
  });

  it('waits for a source that does not answer, though all has arrived, and keeps its packets (I1)', async () => {
    const instanceId = await converged();
    target.stop();
    await switchOf(instanceId);
    source.stop();
    await target.start();
    await until('its packets are kept', () =>
      lab.cardCalls.some(
        ({ method, params }) =>
          method === 'setQueue' &&
          JSON.stringify(params) === JSON.stringify({ eniId: eniOf(instanceId), mode: 'hold' }),
      ),
    );
    assert.equal(await running(target, instanceId), false);
    assert.equal(await running(source, instanceId), false);
    await source.start();
    await until('it runs on the target', () => running(target, instanceId));
    assert.equal(await running(source, instanceId), false);
    await countsOn(target, instanceId);
  });

  it('tells a card that does not answer once more to keep the redirection: else it would lapse', async () => {
    const instanceId = await converged();
    const way = { eniId: eniOf(instanceId), to: queue };
    const keeps = () => redirections().filter((params) => JSON.stringify(params).includes('keep'));
    lab.onRedirect = () => {
      if (keeps().length === 1) throw new PandoError('Unavailable', 'The card begins anew.');
    };
    await switchOf(instanceId);
    await until('it is told again', () => keeps().length === 2);
    assert.deepEqual(keeps().at(-1), { ...way, keep: true });
    await until('it runs on the target', () => running(target, instanceId));
  });

  it('gives the switch up when the target says nothing: the guest and its packets stay', async () => {
    const instanceId = await converged();
    const pid = target.agent.host.get(instanceId).record.process?.pid;
    assert.ok(pid !== undefined);
    lab.onRedirect = () => {
      process.kill(pid, 'SIGSTOP');
      lab.onRedirect = undefined;
    };
    const began = performance.now();
    await assert.rejects(switchOf(instanceId));
    assert.ok(performance.now() - began < budgetMs + answersMsMax);
    await countsOn(source, instanceId);
    assert.deepEqual(redirections().at(-1), { eniId: eniOf(instanceId) });
    process.kill(pid, 'SIGCONT');
    await until(
      'no copy',
      async () => (await source.call('migrate.progress', { instanceId })).phase === 'none',
    );
    assert.equal(await running(target, instanceId).catch(() => false), false);
  });

  it('takes back what an agent left that died in the switch', async () => {
    const instanceId = await converged();
    lab.onRedirect = () => {
      lab.onRedirect = undefined;
      source.stop();
    };
    await assert.rejects(switchOf(instanceId));
    await source.start();
    await until(
      'the redirection is taken back',
      () => JSON.stringify(redirections().at(-1)) === JSON.stringify({ eniId: eniOf(instanceId) }),
    );
    await countsOn(source, instanceId);
    assert.equal(await running(target, instanceId).catch(() => false), false);
  });

  it('lets the packets go of a guest that a former agent let run, and asks nobody about it', async () => {
    const instanceId = await converged();
    const { record } = target.agent.host.get(instanceId).paths;
    const before = await readFile(record, 'utf8');
    await switchOf(instanceId);
    await until('its packets are let go', () => settled(instanceId));
    await until('it is written down', async () => (await readFile(record, 'utf8')) !== before);
    // As an agent leaves it that dies between the two.
    target.stop();
    source.stop();
    await writeFile(record, before);
    lab.cardCalls.length = 0;
    await target.start();
    await until('its packets are let go again', () => settled(instanceId));
    assert.ok(!lab.cardCalls.some(({ params }) => JSON.stringify(params).includes('"hold"')));
    await until(
      'it has arrived for good',
      () => target.agent.host.get(instanceId).record.migration === undefined,
    );
    await target.call('vm.reboot', { command: key(), instanceId });
    await countsOn(target, instanceId);
  });

  it('knows a guest that it has handed over though its record is lost: it runs here never again (I1)', async () => {
    const instanceId = await converged();
    const { record } = source.agent.host.get(instanceId).paths;
    await switchOf(instanceId);
    await until('it runs on the target', () => running(target, instanceId));
    await until('it is written down', async () => (await readFile(record, 'utf8')).includes('migrated away'));
    await until('the redirection is kept', () => redirections().length === 2);
    source.stop();
    await writeFile(record, '{');
    await source.start();
    // What it has written down of that is read by the next agent.
    source.stop();
    await source.start();
    assert.equal((await source.call('migrate.progress', { instanceId })).phase, 'completed');
    assert.equal(source.agent.host.get(instanceId).record.recovered, true);
    const order = { command: key(), instanceId };
    await assert.rejects(source.call('migrate.cancel', order), { code: 'IncorrectState' });
    await assert.rejects(source.call('vm.reboot', order), { code: 'IncorrectInstanceState' });
    assert.deepEqual(await Promise.all([running(source, instanceId), running(target, instanceId)]), [
      false,
      true,
    ]);
  });

  it('tries to give a switch up again where a try has failed: the guest does not stand still in both places', async (t) => {
    const instanceId = await converged();
    const { monitor } = source.agent.host.get(instanceId);
    const execute = monitor.execute.bind(monitor);
    let failures = 2;
    t.mock.method(monitor, 'execute', (name: string, ...more: []) => {
      if (name === 'migrate-continue' || (name === 'migrate_cancel' && failures-- > 0))
        return Promise.reject(new PandoError('NotReady', 'It does not answer just now.'));
      return execute(name, ...more);
    });
    await assert.rejects(switchOf(instanceId));
    const cancel = { command: key(), instanceId };
    await assert.rejects(source.call('migrate.cancel', cancel));
    assert.equal(await running(source, instanceId), false);
    await source.call('migrate.cancel', cancel);
    await countsOn(source, instanceId);
    assert.equal((await source.call('migrate.progress', { instanceId })).phase, 'none');
    assert.equal(await running(target, instanceId).catch(() => false), false);
  });

  it('does not stop a guest late, when the switch has been given up already', async (t) => {
    const instanceId = await converged();
    const { cgroups } = source.agent.host.context;
    t.mock.method(cgroups, 'setLowCpuShares', () => sleep(budgetMs + 1_000));
    await assert.rejects(switchOf(instanceId));
    await sleep(1_500);
    await countsOn(source, instanceId);
  });
});
