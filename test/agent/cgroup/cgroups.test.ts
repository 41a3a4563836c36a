/** Control groups of both versions on trees of plain files, and of the version that this machine has on its kernel. */
import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { appendFile, mkdir, mkdtemp, readdir, rm, writeFile } from 'node:fs/promises';
import os from 'node:os';
import { dirname, join } from 'node:path';
import { describe, it } from 'node:test';
import { openCgroups } from '#agent/cgroup/cgroups.ts';
import { quotaUs } from '#agent/cgroup/quota.ts';
import { settingsV1 } from '#agent/cgroup/v1.ts';
import { settingsV2 } from '#agent/cgroup/v2.ts';
import { labName } from '../../support/labName.ts';
import { type CgroupGround, cgroupSuite } from './cgroups.suite.ts';

const filesOf = {
  1: { quota: 'cpu.cfs_quota_us', shares: 'cpu.shares' },
  2: { quota: 'cpu.max', shares: 'cpu.weight' },
} as const;

const fullShares = { 1: 1024, 2: 100 } as const;

const emptyTree = async (version: 1 | 2, controllers: readonly string[]): Promise<string> => {
  const root = await mkdtemp(join(os.tmpdir(), 'cgroup-'));
  if (version === 2) {
    await writeFile(join(root, 'cgroup.controllers'), `${controllers.join(' ')}\n`);
    await writeFile(join(root, 'cgroup.subtree_control'), '');
  } else
    for (const name of controllers) {
      await mkdir(join(root, name));
      await writeFile(join(root, name, 'cgroup.procs'), '');
    }
  return root;
};

const allControllers = ['cpu', 'cpuacct', 'memory', 'pids', 'devices'];

/** A tree of plain files: it keeps what is written; files that the kernel would make by itself, the tests make. */
const plainGround = async (version: 1 | 2): Promise<CgroupGround> => ({
  prefix: 'hosts',
  root: await emptyTree(version, allControllers),
  files: filesOf[version],
  made: async (procs) => {
    const { shares } = filesOf[version];
    const dir = procs.map((path) => dirname(path)).find((each) => version === 2 || each.includes('/cpu/'));
    if (dir !== undefined) await writeFile(join(dir, shares), String(fullShares[version]));
  },
  enter: async (procs) => {
    for (const path of procs) await appendFile(path, `${process.pid}\n`);
    return process.pid;
  },
  // The kernel removes a group together with its files.
  vacate: async (procs) => {
    for (const dir of procs.map((path) => dirname(path)).filter((path) => existsSync(path)))
      for (const entry of await readdir(dir, { withFileTypes: true }))
        if (entry.isFile()) await rm(join(dir, entry.name));
  },
});

const kernelGround = async (version: 1 | 2): Promise<CgroupGround> => {
  const children: ChildProcess[] = [];
  return {
    prefix: labName(),
    root: undefined,
    files: filesOf[version],
    made: async () => undefined,
    enter: async (procs) => {
      const child = spawn('/bin/cat', { stdio: ['pipe', 'ignore', 'ignore'] });
      children.push(child);
      await once(child, 'spawn');
      const pid = child.pid ?? 0;
      for (const path of procs) await writeFile(path, String(pid));
      return pid;
    },
    vacate: async () => {
      for (const child of children.splice(0)) {
        const ended = once(child, 'exit');
        child.stdin?.end();
        await ended;
      }
    },
  };
};

const removeTree = async ({ root }: CgroupGround): Promise<void> => {
  if (root !== undefined) await rm(root, { recursive: true });
};

for (const version of [1, 2] as const)
  cgroupSuite(
    `control groups, version ${version}, on plain files`,
    version,
    () => plainGround(version),
    removeTree,
  );

const { version: here } = await openCgroups('pando');
// A machine that lets us write no control groups has nothing more to show.
if (here !== undefined)
  cgroupSuite(
    `control groups, version ${here}, of this machine`,
    here,
    () => kernelGround(here),
    async () => undefined,
  );

describe('control groups', () => {
  it('are taken where they can be written, else none are, and that is said', async () => {
    for (const [version, controllers, wanted] of [
      [1, ['cpu', 'memory'], 1],
      [1, ['memory', 'devices'], undefined],
      [2, ['cpuset', 'cpu', 'memory', 'pids'], 2],
      [2, ['hugetlb'], undefined],
    ] as const) {
      const root = await emptyTree(version, controllers);
      try {
        const groups = await openCgroups('hosts', root);
        assert.equal(groups.version, wanted, `version ${version}: ${controllers.join(' ')}`);
        if (wanted === undefined) assert.deepEqual(groups.missing, ['cpu', 'memory', 'pids', 'devices']);
        if (version === 1 && wanted === 1) assert.deepEqual(groups.missing, ['cpuacct', 'pids', 'devices']);
        if (wanted === 2) assert.deepEqual(groups.missing, ['devices']);
      } finally {
        await rm(root, { recursive: true });
      }
    }
  });

  it('turn a fraction of a CPU into a quota, in both versions', () => {
    assert.equal(quotaUs(0.25) / quotaUs(1), 0.25);
    assert.equal(quotaUs(1, true) - quotaUs(1), quotaUs(9) - quotaUs(8), 'a CPU more while it moves');
    const limits = { vcpus: 0.25, memoryMib: 128, kvm: false };
    const one = settingsV1(limits);
    assert.deepEqual(one.devices[0], ['devices.deny', 'a'], 'everything is denied before some are allowed');
    assert.ok(!JSON.stringify(one).includes('10:232'), 'no KVM where it is not used');
    const max = settingsV2(limits).find(([file]) => file === 'cpu.max')?.[1] ?? '';
    assert.equal(Number.parseInt(max, 10), quotaUs(0.25));
    assert.ok(settingsV2(limits).some(([file]) => file === 'memory.max'));
  });

  it('say what a limited group may still take, in both versions', async () => {
    const mib = 1024 ** 2;
    const files = {
      1: ['memory.limit_in_bytes', 'memory.usage_in_bytes', 'inactive_file 0\ntotal_inactive_file'],
      2: ['memory.max', 'memory.current', 'inactive_file'],
    } as const;
    for (const version of [1, 2] as const) {
      const root = await emptyTree(version, allControllers);
      try {
        const groups = await openCgroups('hosts', root);
        assert.equal(await groups.memoryFreeMib(), Number.POSITIVE_INFINITY);
        const group = join(root, version === 1 ? 'memory' : '', 'hosts');
        await mkdir(group);
        const [limit, usage, inactive] = files[version];
        await writeFile(join(group, limit), `${512 * mib}\n`);
        await writeFile(join(group, usage), `${200 * mib}\n`);
        await writeFile(join(group, 'memory.stat'), `cache 1\n${inactive} ${8 * mib}\n`);
        assert.equal(await groups.memoryFreeMib(), 320);
        await writeFile(join(group, limit), 'max\n');
        assert.equal(await groups.memoryFreeMib(), Number.POSITIVE_INFINITY);
      } finally {
        await rm(root, { recursive: true });
      }
    }
  });
});
