import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { identifyProcess, isAlive, killProcess, processesOfUid } from '#agent/process.ts';
import { exec } from '#base/exec.ts';
import { newId } from '#contracts/ids.ts';
import { agentCapabilities } from '#node/capabilities.ts';
import { withCapabilities } from '../support/keptCapabilities.ts';
import { key, Lab, requirement, type TestHost, until } from './lab.ts';
import { traces } from './traces.ts';

const main = join(import.meta.dirname, '../../src/agent/main.ts');

describe('an agent that is killed', () => {
  let lab: Lab;
  let host: TestHost;
  const children = new Set<ChildProcess>();
  before(async () => {
    lab = await Lab.open();
    host = await lab.host();
  });
  after(async () => {
    for (const child of children) child.kill('SIGKILL');
    await lab.close();
  });

  const startProcess = async (): Promise<ChildProcess> => {
    const file = join(lab.dir, 'agent.json');
    await writeFile(file, JSON.stringify(host.config));
    lab.forget(host.config.hostId);
    const [program = '', ...args] = withCapabilities(agentCapabilities, [
      ...[process.execPath, main, '--config', file],
    ]);
    const child = spawn(program, args, {
      stdio: ['ignore', 'ignore', 'inherit'],
    });
    children.add(child);
    await lab.caller(host.config.hostId);
    return child;
  };
  const kill = async (child: ChildProcess): Promise<void> => {
    child.kill('SIGKILL');
    await once(child, 'exit');
    children.delete(child);
    lab.forget(host.config.hostId);
  };
  const pidOf = async (instanceId: string): Promise<number> =>
    JSON.parse(await readFile(join(host.config.stateDir, 'vms', instanceId, 'vm.json'), 'utf8')).process.pid;

  it('finds its VMs again, restarts none (S1.13), and sees which ended meanwhile', async () => {
    const first = await startProcess();
    const { instanceId } = await host.launch();
    const { instanceId: dies } = await host.launch();
    await until('the guest runs', async () => (await host.round(instanceId)) > 2);
    const pid = await pidOf(instanceId);
    await kill(first);
    const round = await host.round(instanceId);
    await host.hmp(dies, 'quit').catch(() => undefined);
    const second = await startProcess();
    const { vms } = await host.call('host.describe', {});
    const states = new Map(vms.map((vm) => [vm.instanceId, vm.state]));
    assert.equal(states.get(instanceId), 'running');
    assert.equal(states.get(dies), 'stopped');
    assert.equal(await pidOf(instanceId), pid);
    await until('it goes on counting', async () => (await host.round(instanceId)) > round);
    for (const id of [instanceId, dies]) await host.call('vm.destroy', { command: key(), instanceId: id });
    assert.equal(await identifyProcess(pid), undefined);
    await kill(second);
  });

  it('refuses former owners in its next life too, of VMs that it has and of those that are gone', async () => {
    const first = await startProcess();
    const { instanceId } = await host.launch();
    const { instanceId: gone } = await host.launch();
    const order = (id: string, generation: number) => ({
      command: { ...key(), generation },
      instanceId: id,
    });
    await host.call('vm.reboot', order(instanceId, 4));
    await host.call('vm.destroy', order(gone, 4));
    await kill(first);
    const second = await startProcess();
    for (const id of [instanceId, gone])
      await assert.rejects(host.call('vm.destroy', order(id, 3)), { code: 'StaleEpoch' });
    const image = host.imageRef;
    await assert.rejects(host.call('vm.ensureImage', { ...order(gone, 3), image }), { code: 'StaleEpoch' });
    assert.equal((await host.call('vm.describe', { instanceId })).state, 'running');
    await host.call('vm.destroy', order(instanceId, 5));
    await kill(second);
  });

  it('finishes a launch in the middle of which it was killed, or destroys what is left', async () => {
    const killAfterMs = [20, 60, 100, 140, 180, 260];
    for (const delay of killAfterMs) {
      const child = await startProcess();
      const instanceId = newId('instance');
      const network = await host.prepare(instanceId);
      const launch = { instanceId, requirement, image: host.imageRef, network, incoming: false };
      const command = key(`wf-kill-${delay}`, 'launch');
      const interrupted = host.call('vm.launch', { ...launch, command }).catch(() => undefined);
      await new Promise((resolve) => setTimeout(resolve, delay));
      await kill(child);
      await interrupted;
      const next = await startProcess();
      await host.call('vm.launch', { ...launch, command });
      await until('the guest runs', async () => (await host.round(instanceId)) > 0);
      await host.call('vm.destroy', { command: key(), instanceId });
      await kill(next);
    }
  });

  it('takes over a VM whose record is damaged by what is evident of it, and leaves nothing of it later', async () => {
    const first = await startProcess();
    const [{ instanceId }, { instanceId: dead }] = [await host.launch(), await host.launch()];
    await until('the guest runs', async () => (await host.round(instanceId)) > 2);
    const [pid, deadPid] = [await pidOf(instanceId), await pidOf(dead)];
    await kill(first);
    await host.hmp(dead, 'quit').catch(() => undefined);
    const round = await host.round(instanceId);
    for (const id of [instanceId, dead])
      await writeFile(join(host.config.stateDir, 'vms', id, 'vm.json'), '{"instanceId":"i-');
    const second = await startProcess();
    const { vms } = await host.call('host.describe', {});
    const told = new Map(vms.map((vm) => [vm.instanceId, vm]));
    assert.equal(told.get(instanceId)?.state, 'running');
    assert.match(told.get(instanceId)?.reason ?? '', /record could not be read/);
    assert.equal(told.get(instanceId)?.requirement.memoryMib, requirement.memoryMib);
    assert.equal(told.get(dead)?.state, 'stopped');
    assert.equal(await pidOf(instanceId), pid);
    await until('it goes on counting', async () => (await host.round(instanceId)) > round);
    await kill(second);
    const third = await startProcess();
    assert.equal((await host.call('vm.describe', { instanceId })).state, 'running');
    for (const id of [instanceId, dead]) await host.call('vm.destroy', { command: key(), instanceId: id });
    const detached = lab.cardCalls
      .filter(({ method }) => method === 'detachPort')
      .map(({ params }) => params);
    for (const id of [instanceId, dead])
      assert.ok(detached.some((params) => JSON.stringify(params).includes(id.replace('i-', 'eni-'))));
    assert.deepEqual(await traces(host, instanceId, pid), []);
    assert.deepEqual(await traces(host, dead, deadPid), []);
    await kill(third);
  });

  it('leaves a VMM alone whose directory is gone, tells of it, and ends it when it is told to', async () => {
    const first = await startProcess();
    const { instanceId } = await host.launch();
    const pid = await pidOf(instanceId);
    await kill(first);
    await rm(join(host.config.stateDir, 'vms', instanceId), { recursive: true });
    const second = await startProcess();
    assert.equal((await host.call('vm.describe', { instanceId })).state, 'running');
    assert.ok(await identifyProcess(pid), 'a missing directory is no order to end a VM');
    await host.call('vm.destroy', { command: key(), instanceId });
    assert.equal(await identifyProcess(pid), undefined);
    assert.equal((await host.call('vm.describe', { instanceId })).state, 'absent');
    await kill(second);
  });

  it('gives nobody the uid of a VMM that it cannot place, without control groups either, and so ends it with no other', async () => {
    const bare = await (await lab.host({ cgroupRoot: '/nonexistent' })).start();
    const { instanceId } = await bare.launch();
    const uid = bare.agent.host.get(instanceId).record.uid;
    const [vmm] = await processesOfUid(uid);
    assert.ok(vmm);
    bare.stop();
    await rm(join(bare.config.stateDir, 'vms', instanceId), { recursive: true });
    lab.forget(bare.config.hostId);
    await bare.start();
    try {
      assert.equal((await bare.call('vm.describe', { instanceId })).state, 'absent');
      const { instanceId: other } = await bare.launch();
      assert.notEqual(bare.agent.host.get(other).record.uid, uid);
      await bare.call('vm.destroy', { command: key(), instanceId: other });
      assert.ok(await isAlive(vmm), 'it is another VM’s');
    } finally {
      await killProcess(vmm);
    }
  });

  it('removes a tap that belongs to no VM', async () => {
    const name = `${host.config.runPrefix}tzz`;
    await exec('ip', ['tuntap', 'add', 'name', name, 'mode', 'tap']);
    const child = await startProcess();
    assert.doesNotMatch((await exec('ip', ['link'])).stdout, new RegExp(name));
    await kill(child);
  });
});
