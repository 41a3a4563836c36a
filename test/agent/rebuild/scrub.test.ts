/** Scrubs of a host whose state directory is a file system of its own (I8): the raw device is read, free blocks and all. In doubt: nothing. */
import assert from 'node:assert/strict';
import { appendFile, mkdir, readFile, rm, truncate, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { exec } from '#base/exec.ts';
import { newId } from '#contracts/ids.ts';
import type { HostRebuildStep, StepOutcome } from '#contracts/rebuild.ts';
import { codeOf } from '../../host-contract.subject.ts';
import { key, Lab, type TestHost } from '../lab.ts';

const secret = `secret-${newId('instance')}`;
let lab: Lab;
let host: TestHost;
let device: string;
let stateDir: string;
let generation = 1;

before(async () => {
  lab = await Lab.open();
  [device, stateDir] = [join(lab.dir, 'device'), join(lab.dir, 'mounted')];
  await writeFile(device, '');
  await truncate(device, 192 * 1024 * 1024);
  await exec('mkfs.ext4', ['-q', '-F', device]);
  await mkdir(stateDir);
  await exec('mount', ['-o', 'loop', device, stateDir]);
  lab.atEnd(() => exec('umount', ['-l', stateDir]).then(() => undefined));
  host = await (
    await lab.host({ stateDir, imageCacheDir: join(stateDir, 'images'), diskReserveMib: 8 })
  ).start();
});
after(() => lab.close());

const onDevice = async (): Promise<boolean> => {
  await exec('sync', ['-f', stateDir]);
  await exec('dd', [`if=${device}`, 'iflag=nocache', 'count=0', 'status=none']);
  return (await readFile(device)).includes(secret);
};
const step = (name: HostRebuildStep): Promise<StepOutcome> => {
  const command = { workflowId: `wf-scrub-${generation}`, step: name, epoch: 1, generation };
  return host.call('rebuild.step', { command, step: name, wanted: {} });
};
/** A rebuild of a generation of its own, as far as the scrub. */
const scrub = async (): Promise<StepOutcome> => {
  generation += 1;
  const { ok, detail } = await step('verifyEmpty');
  assert.ok(ok, detail);
  return step('scrub');
};
const plant = async (instanceId: string): Promise<void> => {
  const { paths } = host.agent.host.get(instanceId);
  const lines = `${secret}\n`.repeat(4_000);
  for (const path of [paths.disk, paths.consoleLog, paths.consoleBefore, paths.vmmLog, paths.metadata])
    await appendFile(path, lines);
};

test('what a VM has left, under a name or under none, is found nowhere on the device', async () => {
  const { instanceId } = await host.launch();
  await host.call('vm.stop', { command: key(), instanceId, force: true, graceMs: 0 });
  await plant(instanceId);
  // Blocks that were given back long ago, by whom nobody knows.
  await writeFile(join(stateDir, 'gone'), `${secret}\n`.repeat(50_000));
  await writeFile(join(stateDir, 'images', 'of-a-tenant'), secret);
  assert.ok(await onDevice());
  await rm(join(stateDir, 'gone'));
  await host.call('vm.destroy', { command: key(), instanceId });
  assert.ok(await onDevice(), 'free blocks, and an image, still have it');
  const { ok, changed, detail } = await scrub();
  assert.ok(ok && changed, detail);
  assert.match(detail, /MiB of free blocks overwritten/);
  assert.equal(await onDevice(), false);
  await step('reopen');
  await host.call('vm.destroy', { command: key(), instanceId: (await host.launch()).instanceId });
});

test('what a destroyed VM has left is overwritten at once where it lies, without any rebuild', async () => {
  const { instanceId } = await host.launch();
  await host.call('vm.stop', { command: key(), instanceId, force: true, graceMs: 0 });
  await plant(instanceId);
  assert.ok(await onDevice());
  await host.call('vm.destroy', { command: key(), instanceId });
  assert.deepEqual(await host.agent.host.discards.settle(), []);
  assert.equal(await onDevice(), false);
});

test('an agent that dies before it has overwritten goes on with it in its next life', async () => {
  const left = join(stateDir, 'discarded', 'i-left.1');
  await mkdir(left, { recursive: true });
  await writeFile(join(left, 'root.qcow2'), secret.repeat(1_000));
  assert.ok(await onDevice());
  host.stop();
  await host.start();
  assert.deepEqual(await host.agent.host.discards.settle(), []);
  assert.equal(await onDevice(), false);
});

test('what cannot be overwritten fails the scrub, stays, and is held against the host', async () => {
  const left = join(stateDir, 'discarded', 'i-endless.1');
  await mkdir(left, { recursive: true });
  await writeFile(join(left, 'root.qcow2'), secret);
  await truncate(join(left, 'root.qcow2'), 1024 ** 4);
  const { ok, detail, condition } = await scrub();
  assert.equal(ok, false);
  assert.match(detail, /i-endless\.1 could not be overwritten/);
  assert.match(condition.dirty.join(), /scrub/);
  assert.equal(await codeOf(host.prepare(newId('instance'))), 'IncorrectState', 'it takes no VM');
  await rm(left, { recursive: true });
  assert.ok((await scrub()).ok);
  await step('reopen');
});

test('what the card cannot remove fails the scrub', async () => {
  lab.rebuilding.left = ['vpc-1: in use'];
  const { ok, detail } = await scrub();
  assert.deepEqual([ok, /the card still has vpc-1/.test(detail)], [false, true]);
  lab.rebuilding.left = [];
  await step('reopen');
});

test('what is none of the agent’s is told, and not touched', async () => {
  const path = join(stateDir, 'notes-of-an-operator');
  await writeFile(path, 'keep');
  const { ok, detail } = await scrub();
  assert.deepEqual([ok, /notes-of-an-operator is none of the agent’s/.test(detail)], [false, true]);
  assert.equal(await readFile(path, 'utf8'), 'keep');
  await rm(path);
  await step('reopen');
});

test('the directory of a VM that no record tells of is a VM: nothing is scrubbed', async () => {
  generation += 1;
  assert.ok((await step('verifyEmpty')).ok);
  const stranger = join(stateDir, 'vms', newId('instance'));
  await mkdir(stranger);
  await writeFile(join(stranger, 'root.qcow2'), 'a tenant’s');
  assert.equal(await codeOf(step('scrub')), 'IncorrectState');
  assert.equal(await readFile(join(stranger, 'root.qcow2'), 'utf8'), 'a tenant’s');
  await rm(stranger, { recursive: true });
  await step('reopen');
});

test('a record of the rebuild that cannot be read closes the host, and proves nothing', async () => {
  host.stop();
  await writeFile(join(stateDir, 'rebuild.json'), '{ torn');
  await host.start();
  assert.equal(await codeOf(host.prepare(newId('instance'))), 'IncorrectState');
  generation += 1;
  assert.equal(await codeOf(step('scrub')), 'IncorrectState');
  assert.notDeepEqual((await host.call('rebuild.condition', {})).dirty, []);
  assert.ok((await scrub()).ok);
  assert.ok((await step('returnToService')).ok);
  assert.deepEqual((await host.call('rebuild.condition', {})).dirty, []);
  await host.call('vm.destroy', { command: key(), instanceId: (await host.launch()).instanceId });
});
