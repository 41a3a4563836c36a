/** A host's disk that is full, on a real file system with real QEMU: told, waited out, and no hindrance to stopping. */
import assert from 'node:assert/strict';
import { mkdir, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { after, afterEach, before, describe, it } from 'node:test';
import { pino } from 'pino';
import { exec } from '#base/exec.ts';
import { PandoError } from '#contracts/errors.ts';
import type { VmReport } from '#contracts/host.ts';
import { key, Lab, type TestHost, until, writingSector } from './lab.ts';

const fileSystemMib = 96;
const reserveMib = 8;
const rootDiskMib = 48;
const mib = 1024 * 1024;

describe('a full disk', () => {
  let lab: Lab;
  let host: TestHost;
  let mount: string;
  const lines: Record<string, unknown>[] = [];
  const log = pino({ level: 'info' }, { write: (line: string) => void lines.push(JSON.parse(line)) });

  before(async () => {
    lab = await Lab.open(undefined, writingSector(rootDiskMib));
    mount = join(lab.dir, 'small');
    await mkdir(mount);
    await exec('mount', ['-t', 'tmpfs', '-o', `size=${fileSystemMib}m`, 'small', mount]);
    lab.atEnd(() => exec('umount', ['-l', mount]).then(() => undefined));
    host = await (await lab.host({ stateDir: join(mount, 'state'), diskReserveMib: reserveMib })).start(log);
  });
  after(() => lab.close());
  afterEach(async () => {
    await empty();
    for (const { instanceId } of (await host.call('host.describe', {})).vms) await destroy(instanceId);
  });

  const filler = (): string => join(mount, 'filler');
  /** Somebody else takes all that is left. */
  const fill = async (): Promise<void> => {
    const chunk = Buffer.alloc(mib, 7);
    await writeFile(filler(), '');
    for (let left = fileSystemMib; left > 0; left--) {
      const error = await writeFile(filler(), chunk, { flag: 'a' }).catch((failure: unknown) => failure);
      if (error !== undefined) return;
    }
  };
  const empty = (): Promise<void> => rm(filler(), { force: true });
  const report = (instanceId: string): Promise<VmReport> => host.call('vm.describe', { instanceId });
  const launch = async (): Promise<string> => {
    const { instanceId } = await host.launch(undefined, { rootDiskMib });
    await until('the guest writes', async () => (await host.round(instanceId)) > 2);
    return instanceId;
  };
  const standsStill = (instanceId: string) =>
    until('it stands still without space', async () => (await report(instanceId)).health?.noSpace === true);
  const writesOn = async (instanceId: string): Promise<void> => {
    await until('it runs', async () => (await report(instanceId)).state === 'running');
    const before = await host.round(instanceId);
    await until('it writes on', async () => (await host.round(instanceId)) !== before);
  };
  const stop = (instanceId: string, force = false) =>
    host.call('vm.stop', { command: key(), instanceId, force, graceMs: 60_000 });
  const destroy = (instanceId: string) => host.call('vm.destroy', { command: key(), instanceId });

  it('is told of with its cause, and the guest goes on by itself once there is room', async () => {
    const instanceId = await launch();
    await fill();
    await standsStill(instanceId);
    const { state, reason, health } = await report(instanceId);
    assert.deepEqual([state, health?.runState], ['paused', 'io-error']);
    assert.match(reason ?? '', /disk is full/);
    await until('its cell hears of it', () =>
      lab.reports.some(({ vms }) => vms.some((vm) => vm.instanceId === instanceId && vm.health?.noSpace)),
    );
    await until('an operator hears of it', () =>
      lines.some(({ alarm, vms }) => alarm === 'disk-full' && JSON.stringify(vms).includes(instanceId)),
    );
    await empty();
    await writesOn(instanceId);
    assert.equal((await report(instanceId)).health?.noSpace, false);
    await destroy(instanceId);
  });

  it('is known to an agent that is started while VMs stand still', async () => {
    const instanceId = await launch();
    await fill();
    await standsStill(instanceId);
    host.stop();
    await host.start(log);
    assert.equal((await report(instanceId)).health?.noSpace, true);
    assert.equal((await report(instanceId)).state, 'paused');
    await empty();
    await writesOn(instanceId);
    await destroy(instanceId);
  });

  it('lets nobody else’s pause end: one that was paused before stays so', async () => {
    const instanceId = await launch();
    await host.qmp(instanceId, 'stop', {});
    await fill();
    await until('it is paused', async () => (await report(instanceId)).health?.runState === 'paused');
    await empty();
    const looks = lab.cardCalls.filter(({ method }) => method === 'heard').length;
    await until(
      'it was looked at twice since',
      () => lab.cardCalls.filter(({ method }) => method === 'heard').length >= looks + 3,
    );
    assert.equal((await report(instanceId)).health?.runState, 'paused');
    await destroy(instanceId);
  });

  it('hinders neither reboot nor stop nor start nor destroy', async () => {
    const instanceId = await launch();
    await fill();
    await standsStill(instanceId);
    await host.call('vm.reboot', { command: key(), instanceId });
    await standsStill(instanceId);
    assert.equal((await stop(instanceId)).state, 'stopped');
    assert.equal((await report(instanceId)).ended?.cause, 'requested');
    await empty();
    const network = await host.prepare(instanceId);
    const again = {
      ...{ command: key(), instanceId, image: host.imageRef, network, incoming: false, diskRequired: true },
      requirement: { vcpus: 0.5, memoryMib: 32, rootDiskMib },
    };
    assert.equal((await host.call('vm.launch', again)).state, 'running');
    await fill();
    await standsStill(instanceId);
    await destroy(instanceId);
    await empty();
    assert.equal((await report(instanceId)).state, 'absent');
  });

  it('has no capacity for one more, and says so before and when it is asked', async () => {
    const capacity = async (): Promise<number> => (await host.call('host.describe', {})).capacity.diskMib;
    const whole = await capacity();
    assert.ok(whole > rootDiskMib && whole <= fileSystemMib - reserveMib, `${whole} MiB`);
    const first = await launch();
    const code = (work: Promise<unknown>) =>
      work.then(
        () => 'ok',
        (error: unknown) => PandoError.from(error).code,
      );
    assert.equal(
      await code(host.launch(undefined, { rootDiskMib })),
      'InsufficientInstanceCapacity',
      'what is promised to the first and not written yet is not promised again',
    );
    await fill();
    await until('its cell hears of less', () => (lab.reports.at(-1)?.diskCapacityMib ?? whole) < whole - 30);
    assert.equal(await code(host.launch(undefined, { rootDiskMib: 8 })), 'InsufficientInstanceCapacity');
    await empty();
    await until('and of more again', () => (lab.reports.at(-1)?.diskCapacityMib ?? 0) > whole - 30);
    await destroy(first);
    await destroy(await launch());
  });
});
