/** What both versions of control groups must do, for a kernel's own hierarchy and for a tree of plain files. */
import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { dirname } from 'node:path';
import { after, afterEach, before, describe, it } from 'node:test';
import { type Cgroups, openCgroups } from '#agent/cgroup/cgroups.ts';

export interface CgroupGround {
  readonly prefix: string;
  /** undefined: where the machine has its own. */
  readonly root: string | undefined;
  /** The file that has a VM's CPU quota, and the one that has its part of what all want. */
  readonly files: { readonly quota: string; readonly shares: string };
  /** Makes what the kernel makes by itself in a new group. */
  made(procs: readonly string[]): Promise<void>;
  /** Puts a process of the test's own into a group; returns its id. */
  enter(procs: readonly string[]): Promise<number>;
  /** Ends it, and does what the kernel does by itself before a group can be removed. */
  vacate(procs: readonly string[]): Promise<void>;
}

const limits = { vcpus: 2, memoryMib: 128, kvm: false };

/** `open` is asked once, before the first test; `close` removes what it made. */
export const cgroupSuite = (
  title: string,
  version: 1 | 2,
  open: () => Promise<CgroupGround>,
  close: (ground: CgroupGround) => Promise<void>,
): void => {
  describe(title, () => {
    let ground: CgroupGround;
    let groups: Cgroups;
    const procsOf = new Map<string, readonly string[]>();

    before(async () => {
      ground = await open();
      groups = await openCgroups(ground.prefix, ground.root);
    });
    after(() => close(ground));

    const create = async (name: string): Promise<readonly string[]> => {
      const procs = await groups.create(name, limits);
      await ground.made(procs);
      procsOf.set(name, procs);
      return procs;
    };
    const remove = async (name: string): Promise<void> => {
      await ground.vacate(procsOf.get(name) ?? []);
      await groups.remove(name);
      procsOf.delete(name);
    };
    const readSetting = async (name: string, file: string): Promise<string> => {
      const dirs = (procsOf.get(name) ?? []).map((path) => dirname(path));
      const path = dirs.map((dir) => `${dir}/${file}`).find((each) => existsSync(each));
      return path === undefined ? '' : (await readFile(path, 'utf8')).trim();
    };
    afterEach(async () => {
      for (const name of [...procsOf.keys()]) await remove(name);
    });

    it('is found, and says what it does not enforce', () => {
      assert.equal(groups.version, version);
      assert.ok(!groups.missing.includes('cpu') && !groups.missing.includes('memory'));
    });

    it('makes a group, again too, and lists it until it is removed', async () => {
      await create('i-a');
      await create('i-a');
      await create('i-b');
      assert.deepEqual((await groups.list()).sort(), ['i-a', 'i-b']);
      await remove('i-a');
      assert.deepEqual(await groups.list(), ['i-b']);
    });

    it('knows the processes of a group', async () => {
      const procs = await create('i-a');
      assert.deepEqual(await groups.processes('i-a'), []);
      const pid = await ground.enter(procs);
      assert.deepEqual(await groups.processes('i-a'), [pid]);
    });

    it('gives more time while a VM moves, and takes it back', async () => {
      await create('i-a');
      const { quota } = ground.files;
      const usual = await readSetting('i-a', quota);
      await groups.setMigrationCpuQuota('i-a', limits.vcpus, true);
      const moving = await readSetting('i-a', quota);
      assert.ok(Number.parseInt(moving, 10) > Number.parseInt(usual, 10), `${usual}, then ${moving}`);
      await groups.setMigrationCpuQuota('i-a', limits.vcpus, false);
      assert.equal(await readSetting('i-a', quota), usual);
    });

    it('lowers what a VM gets of processors that others want, and puts it back', async () => {
      await create('i-a');
      const { shares } = ground.files;
      await groups.setLowCpuShares('i-a', false);
      const full = Number(await readSetting('i-a', shares));
      await groups.setLowCpuShares('i-a', true);
      assert.ok(Number(await readSetting('i-a', shares)) < full / 10);
      await groups.setLowCpuShares('i-a', false);
      assert.equal(Number(await readSetting('i-a', shares)), full);
    });

    it('does nothing about a group that is not there', async () => {
      await groups.setMigrationCpuQuota('i-none', 1, true);
      await groups.setLowCpuShares('i-none', true);
      assert.deepEqual(await groups.processes('i-none'), []);
      await groups.remove('i-none');
      assert.deepEqual(await groups.list(), []);
    });

    it('leaves nothing once it is no longer wanted', async () => {
      const procs = await create('i-a');
      await remove('i-a');
      await ground.vacate(procs.map((path) => `${dirname(dirname(path))}/cgroup.procs`));
      await groups.removeAll();
      for (const path of procs) assert.ok(!existsSync(dirname(dirname(path))), path);
    });
  });
};
