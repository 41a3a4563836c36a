/** A real agent reports what its host is short of, by the kernel's own figures, under loads that this test makes for a few seconds. */
import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { mkdir, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { openCgroups } from '#agent/cgroup/cgroups.ts';
import { exec } from '#base/exec.ts';
import { deviceTraffic } from '#card/kernel/netDev.ts';
import { kindsOfPressure } from '#cell/hosts/pressure.ts';
import type { HostPressure } from '#contracts/host.ts';
import { Lab, type TestHost, until } from '../lab.ts';

const loadMsMax = 20_000;
/** So little that a few datagrams fill it. */
const networkMbps = 0.2;

describe('what a real host is short of', { timeout: 180_000 }, () => {
  let lab: Lab;
  let host: TestHost;
  const loads = new Set<ChildProcess>();

  before(async () => {
    lab = await Lab.open();
    const config = {
      stateDir: join(await ownDisk(), 'state'),
      capacity: { vcpus: 4, memoryMib: 256, diskMib: 10_000, networkMbps },
    };
    host = await lab.host(config);
    const { netns } = host.config.card;
    // The far end takes nothing: what counts is what the device has sent.
    await exec('ip', ['-n', netns, '-batch', '-'], {
      input: `link add ul0 type veth peer name ul1
address add 198.18.77.1/30 dev ul0
link set ul0 up
link set ul1 up
neighbour add 198.18.77.2 lladdr 02:00:00:00:00:02 dev ul0
`,
    });
    lab.underlay = async () => {
      const traffic = (await deviceTraffic(netns)).get('ul0');
      return traffic && { rxBytes: traffic.rx.bytes, txBytes: traffic.tx.bytes, speedMbps: 10_000 };
    };
    await host.start();
  });

  after(async () => {
    for (const load of loads) load.kill('SIGKILL');
    await lab?.close();
  });

  /** A file system on a block device of its own, so that no other's writing is counted. */
  const ownDisk = async (): Promise<string> => {
    const [file, mount] = [join(lab.dir, 'disk'), join(lab.dir, 'mounted')];
    await mkdir(mount);
    await exec('truncate', ['-s', '64M', file]);
    await exec('mkfs.ext4', ['-q', '-E', 'lazy_itable_init=0,lazy_journal_init=0', file]);
    // The loop device goes with the mount.
    await exec('mount', ['-o', 'loop', file, mount]);
    lab.atEnd(() => exec('umount', ['-l', mount]).then(() => undefined));
    return mount;
  };
  /** Runs until it is ended, and for so long at most. */
  const load = (command: string, args: readonly string[]): ChildProcess => {
    const child = spawn('timeout', [String(loadMsMax / 1_000), command, ...args], { stdio: 'ignore' });
    loads.add(child);
    child.once('exit', () => loads.delete(child));
    return child;
  };
  const end = async (child: ChildProcess): Promise<void> => {
    if (!loads.has(child)) return;
    child.kill('SIGTERM');
    await once(child, 'exit');
  };
  const last = (): HostPressure | undefined => lab.reports.at(-1)?.pressure;
  const reported = (what: string, condition: (pressure: HostPressure) => boolean): Promise<void> =>
    until(
      `${what} is reported, not ${JSON.stringify(last())}`,
      () => {
        const pressure = last();
        return pressure !== undefined && condition(pressure);
      },
      loadMsMax,
    );

  it('tells shares of everything that this kernel counts', async () => {
    await reported('a window', ({ windowMs }) => windowMs >= 2_000);
    const { stealShare, memoryStallShare, ioStallShare, networkShare } = last() ?? {};
    assert.ok(stealShare !== undefined && stealShare >= 0 && stealShare <= 1);
    assert.ok(networkShare !== undefined && networkShare < 0.5, `${networkShare}`);
    if (existsSync('/proc/pressure/memory')) assert.ok(memoryStallShare !== undefined);
    if (existsSync('/proc/pressure/io')) assert.ok(ioStallShare !== undefined);
    assert.equal(lab.reports.at(-1)?.networkMbps, networkMbps, 'what is configured comes before the device');
  });

  it('processors: a group above its VMs that is held to its quota', async () => {
    const { cgroupPrefix, cgroupRoot } = host.config;
    const cgroups = await openCgroups(cgroupPrefix, cgroupRoot);
    const procs = await cgroups.create('i-0', { vcpus: 2, memoryMib: 64, kvm: false });
    const group = procs
      .map((path) => dirname(path))
      .find((dir) => cgroups.version === 2 || dir.includes('/cpu/'));
    assert.ok(group);
    const above = dirname(group);
    // Version 1 allows nobody below more than the group itself has.
    if (cgroups.version === 1) await writeFile(join(group, 'cpu.cfs_quota_us'), '-1');
    if (cgroups.version === 1) await writeFile(join(above, 'cpu.cfs_quota_us'), '5000');
    else await writeFile(join(above, 'cpu.max'), '5000 100000');
    const spin = load('sh', ['-c', `echo $$ >${join(group, 'cgroup.procs')}; while :; do :; done`]);
    try {
      await reported('throttling', ({ throttledShare = 0 }) => throttledShare > 0.5);
      assert.ok(kindsOfPressure(last()).includes('steal'));
    } finally {
      await end(spin);
      await until('the group is empty', async () => (await cgroups.processes('i-0')).length === 0);
      await cgroups.remove('i-0');
      await cgroups.removeAll();
    }
  });

  it('the network: what its device has sent of the bandwidth that it has', async () => {
    const { netns } = host.config.card;
    const send = 'while :; do head -c 1400 /dev/zero >/dev/udp/198.18.77.2/9; sleep 0.01; done';
    const sender = load('ip', ['netns', 'exec', netns, 'bash', '-c', send]);
    await reported('a full network', ({ networkShare = 0 }) => networkShare > 0.95);
    assert.ok(kindsOfPressure(last()).includes('network'));
    await end(sender);
    await until('it is over', () => !kindsOfPressure(last()).includes('network'));
  });

  it('the disk: time in which it was busy; that of others is not told of', async () => {
    await reported('a disk at rest', ({ diskBusyShare = 1 }) => diskBusyShare < 0.1);
    const file = join(host.config.stateDir, 'load');
    const writer = load('sh', [
      '-c',
      `while :; do dd if=/dev/zero of=${file} bs=64k count=32 oflag=dsync; done`,
    ]);
    await reported(
      'a busy disk',
      ({ diskBusyShare = 0, ioStallShare = 1 }) => diskBusyShare > 0.2 && ioStallShare > 0,
    );
    await end(writer);
  });
});
