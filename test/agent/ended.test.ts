/** Why a VM ended, on real QEMU: what the agent saw, and what it did not see because it was dead. */
import assert from 'node:assert/strict';
import { readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { after, before, it } from 'node:test';
import { endOf } from '#agent/end-cause.ts';
import { identifyProcess } from '#agent/process.ts';
import type { VmEnded, VmReport } from '#contracts/host.ts';
import { key, Lab, requirement, type TestHost, until } from './lab.ts';

let lab: Lab;
let host: TestHost;
before(async () => {
  lab = await Lab.open();
  host = await (await lab.host()).start();
});
after(() => lab.close());

const describeVm = (instanceId: string): Promise<VmReport> => host.call('vm.describe', { instanceId });
const causeOnceEnded = async (instanceId: string): Promise<VmEnded | undefined> => {
  await until('it has ended', async () => (await describeVm(instanceId)).state === 'stopped');
  return (await describeVm(instanceId)).ended;
};
const destroy = (instanceId: string) => host.call('vm.destroy', { command: key(), instanceId });
const gone = (pid: number) =>
  until('the VMM is gone', async () => (await identifyProcess(pid)) === undefined);
const startAgain = async (): Promise<void> => {
  await host.start();
};

it('kill -9: killed, with the signal; the report that tells it follows at once', async () => {
  const { instanceId } = await host.launch();
  await host.killVmm(instanceId);
  const ended = await causeOnceEnded(instanceId);
  assert.equal(ended?.cause, 'killed');
  assert.match(ended?.detail ?? '', /SIGKILL/);
  await until('it is reported', () =>
    lab.reports.some(({ vms }) =>
      vms.some((vm) => vm.instanceId === instanceId && vm.ended?.cause === 'killed'),
    ),
  );
  await destroy(instanceId);
});

it('a VMM that somebody else tells to quit has not been shut down by its guest', async () => {
  const { instanceId } = await host.launch();
  await host.hmp(instanceId, 'quit').catch(() => undefined);
  const ended = await causeOnceEnded(instanceId);
  assert.equal(ended?.cause, 'killed');
  assert.match(ended?.detail ?? '', /host-qmp-quit/);
  await destroy(instanceId);
});

it('the guest powers itself off: guest-shutdown, and its VMM goes', async () => {
  const { instanceId } = await host.launch();
  const pid = await host.pidOf(instanceId);
  await host.guestShutdown(instanceId);
  assert.equal((await causeOnceEnded(instanceId))?.cause, 'guest-shutdown');
  assert.equal(await identifyProcess(pid), undefined);
  await destroy(instanceId);
});

it('both happen while the agent is dead, and are told apart', async () => {
  const [{ instanceId: off }, { instanceId: killed }] = [await host.launch(), await host.launch()];
  await until('both run', async () => (await host.round(off)) > 0 && (await host.round(killed)) > 0);
  const [pidOff, pidKilled] = [await host.pidOf(off), await host.pidOf(killed)];
  host.stop();
  await host.guestShutdown(off);
  process.kill(pidKilled, 'SIGKILL');
  await gone(pidKilled);
  assert.ok(await identifyProcess(pidOff), 'the VMM of a guest that is off stays, and says so');
  await startAgain();
  assert.equal((await causeOnceEnded(off))?.cause, 'guest-shutdown');
  assert.equal((await causeOnceEnded(killed))?.cause, 'killed');
  await gone(pidOff);
  // It is durable: the next agent tells the same.
  host.stop();
  await startAgain();
  assert.equal((await describeVm(off)).ended?.cause, 'guest-shutdown');
  assert.equal((await describeVm(killed)).ended?.cause, 'killed');
  for (const id of [off, killed]) await destroy(id);
});

it('a VMM of the last release, which would end with its guest, is taught to stand still when it is adopted', async () => {
  const { instanceId } = await host.launch();
  await host.qmp(instanceId, 'set-action', { shutdown: 'poweroff' });
  host.stop();
  await startAgain();
  const pid = await host.pidOf(instanceId);
  host.stop();
  await host.guestShutdown(instanceId);
  assert.ok(await identifyProcess(pid));
  await startAgain();
  assert.equal((await causeOnceEnded(instanceId))?.cause, 'guest-shutdown');
  await destroy(instanceId);
});

it('a record of an earlier boot of the machine: host-restarted, and its process ids are nobody’s', async () => {
  const { instanceId } = await host.launch();
  const pid = await host.pidOf(instanceId);
  host.stop();
  process.kill(pid, 'SIGKILL');
  await gone(pid);
  const path = join(host.config.stateDir, 'vms', instanceId, 'vm.json');
  const record = JSON.parse(await readFile(path, 'utf8'));
  // After a restart the id may be another process's: this test's own stands for it.
  const innocent = await identifyProcess(process.pid);
  await writeFile(path, JSON.stringify({ ...record, process: innocent, bootId: 'the-boot-before' }));
  await startAgain();
  const { state, ended } = await describeVm(instanceId);
  assert.deepEqual([state, ended?.cause], ['stopped', 'host-restarted']);
  const network = await host.prepare(instanceId);
  const image = host.imageRef;
  const launch = {
    command: key(),
    instanceId,
    requirement,
    image,
    network,
    incoming: false,
    diskRequired: true,
  };
  assert.equal((await host.call('vm.launch', launch)).state, 'running');
  assert.equal((await describeVm(instanceId)).ended, undefined);
  await destroy(instanceId);
});

it('a launch that fails tells so', async () => {
  const { instanceId } = await host.launch();
  await host.call('vm.stop', { command: key(), instanceId, force: true, graceMs: 0 });
  assert.equal((await describeVm(instanceId)).ended?.cause, 'requested');
  const disk = join(host.config.stateDir, 'vms', instanceId, 'run', 'root.qcow2');
  await writeFile(disk, 'no disk at all');
  const network = await host.prepare(instanceId);
  const launch = { command: key(), instanceId, requirement, image: host.imageRef, network, incoming: false };
  await assert.rejects(host.call('vm.launch', launch));
  const { state, ended } = await describeVm(instanceId);
  assert.deepEqual([state, ended?.cause], ['failed', 'failed-to-start']);
  // It is the disk that its guest ran on all the same: no copy that comes in takes its place.
  const again = { ...launch, command: key(), network: await host.prepare(instanceId), incoming: true };
  await assert.rejects(host.call('vm.launch', again), { code: 'IncorrectState' });
  assert.equal(await readFile(disk, 'utf8'), 'no disk at all');
  await destroy(instanceId);
});

it('a destruction that fails is no destruction: asked again it takes the disk away', async () => {
  const { instanceId } = await host.launch();
  const { stateDir } = host.config;
  const discarded = join(stateDir, 'discarded');
  await rm(discarded, { recursive: true });
  await writeFile(discarded, 'no directory');
  await assert.rejects(destroy(instanceId));
  assert.ok((await readdir(join(stateDir, 'vms'))).includes(instanceId));
  assert.notEqual((await describeVm(instanceId)).state, 'absent');
  await rm(discarded);
  await destroy(instanceId);
  assert.ok(!(await readdir(join(stateDir, 'vms'))).includes(instanceId));
  assert.equal((await describeVm(instanceId)).state, 'absent');
});

it('no evidence short of the VMM’s own word makes an end the guest’s', () => {
  const states = ['running', 'paused', 'preparing', 'incoming', 'stopped', 'failed', 'absent'] as const;
  const reasons = [undefined, 'host-signal', 'host-qmp-quit', 'guest-reset', 'guest-panic', 'host-error'];
  for (const state of states)
    for (const shutdownReason of reasons)
      for (const asked of [true, false])
        for (const startedUnder of [undefined, 'now', 'before']) {
          const evidence = { state, asked, shutdownReason, startedUnder, bootId: 'now' };
          assert.notEqual(endOf(evidence, new Date(0)).cause, 'guest-shutdown', JSON.stringify(evidence));
        }
});
