import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { readdir, readFile, readlink } from 'node:fs/promises';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { Qmp } from '#agent/qmp.ts';
import { newId } from '#contracts/ids.ts';
import { key, Lab, network, requirement, type TestHost, until } from './lab.ts';
import { traces } from './traces.ts';

const code = (wanted: string) => (error: unknown) => (error as { code?: string }).code === wanted;

describe('a VM on a host', () => {
  let lab: Lab;
  let host: TestHost;
  before(async () => {
    lab = await Lab.open();
    host = await (await lab.host()).start();
  });
  after(() => lab.close());

  const pidOf = (instanceId: string): number => {
    const pid = host.agent.host.get(instanceId).record.process?.pid;
    assert.ok(pid !== undefined);
    return pid;
  };

  it('runs, stops with its disk kept, starts again, and is gone without a trace (S1.12)', async () => {
    const { instanceId, state } = await host.launch();
    assert.equal(state, 'running');
    await until('the guest runs', async () => (await host.round(instanceId)) > 2);
    await host.hmp(instanceId, 'qemu-io -d /machine/peripheral/vda/virtio-backend "write -P 0x5a 1M 64k"');
    const stopped = await host.call('vm.stop', { command: key(), instanceId, force: true, graceMs: 0 });
    assert.equal(stopped.state, 'stopped');
    await host.call('vm.detachNetwork', { command: key(), instanceId });
    await host.launch(instanceId);
    const pid = pidOf(instanceId);
    await host.call('vm.stop', { command: key(), instanceId, force: true, graceMs: 0 });
    await host.checkDisk(instanceId, '0x5a');
    await host.call('vm.destroy', { command: key(), instanceId });
    assert.deepEqual(await traces(host, instanceId, pid), []);
  });

  it('refuses a launch without the recorded network results (S1.4), or without its image', async () => {
    const instanceId = newId('instance');
    const image = host.imageRef;
    const network = await host.prepare(instanceId);
    const launch = { instanceId, requirement, image, incoming: false };
    const forged = { ...network, vpc: { ...network.vpc, operationId: 'another' } };
    await assert.rejects(
      host.call('vm.launch', { ...launch, command: key(), network: forged }),
      code('IncorrectState'),
    );
    const { vpc: _, ...half } = network;
    // biome-ignore lint/suspicious/noExplicitAny: what a careless caller would send
    const missing = { ...launch, command: key(), network: half } as any;
    await assert.rejects(host.call('vm.launch', missing), code('InvalidParameterValue'));
    const unknown = { imageId: 'ami-no', digest: '0'.repeat(64) };
    await assert.rejects(
      host.call('vm.launch', { ...launch, command: key(), image: unknown, network }),
      code('IncorrectState'),
    );
    await host.call('vm.destroy', { command: key(), instanceId });
  });

  it('tells a card that is further than a whole document the groups of the port, and no others', async () => {
    const instanceId = newId('instance');
    const { vpc, port, metadata } = network(instanceId, 'eni-further');
    const groups = ['sg-1', 'sg-2'].map((groupId) => ({ groupId, ingress: [], egress: [] }));
    const told = lab.cardCalls.length;
    lab.cardIsFurther = true;
    await host
      .call('vm.prepareNetwork', {
        ...{ command: key(), instanceId, metadata, activate: true },
        ...{ vpc: { ...vpc, groups }, port: { ...port, groupIds: ['sg-1'] } },
      })
      .finally(() => {
        lab.cardIsFurther = false;
      });
    const calls = lab.cardCalls.slice(told);
    assert.deepEqual(
      calls.filter(({ method }) => method !== 'heard').map(({ method }) => method),
      ['transact', 'prepareAdministrative', 'attachPort'],
    );
    const [{ params } = { params: undefined }] = calls.filter(({ method }) => method === 'transact');
    assert.deepEqual(
      (params as { objects: { id: string }[] }).objects.map(({ id }) => id),
      ['sg-1'],
    );
    await host.call('vm.destroy', { command: key(), instanceId });
  });

  it('admits only what fits its capacity', async () => {
    const instanceId = newId('instance');
    const network = await host.prepare(instanceId);
    const launch = { command: key(), instanceId, image: host.imageRef, network, incoming: false };
    const large = { ...requirement, memoryMib: 257 };
    await assert.rejects(
      host.call('vm.launch', { ...launch, requirement: large }),
      code('InsufficientInstanceCapacity'),
    );
    await host.call('vm.destroy', { command: key(), instanceId });
  });

  it('answers a repeated step from its record and refuses a former owner, also after the VM is gone', async () => {
    const instanceId = newId('instance');
    const network = await host.prepare(instanceId);
    const launch = { instanceId, requirement, image: host.imageRef, network, incoming: false };
    const first = await host.call('vm.launch', { ...launch, command: key('wf-x', 'launch', 2) });
    const pid = pidOf(instanceId);
    assert.deepEqual(await host.call('vm.launch', { ...launch, command: key('wf-x', 'launch', 3) }), first);
    assert.equal(pidOf(instanceId), pid);
    const stale = key('wf-x', 'destroy', 2);
    await assert.rejects(host.call('vm.destroy', { command: stale, instanceId }), code('StaleEpoch'));
    await host.call('vm.destroy', { command: key('wf-x', 'undo', 3), instanceId });
    const late = { command: stale, instanceId, image: host.imageRef };
    await assert.rejects(host.call('vm.ensureImage', late), code('StaleEpoch'));
    assert.equal((await host.call('vm.describe', { instanceId })).state, 'absent');
  });

  it('jails the VMM (S1.5)', async () => {
    const { instanceId } = await host.launch();
    const { uid } = host.agent.host.get(instanceId).record;
    const pid = pidOf(instanceId);
    const status = await readFile(`/proc/${pid}/status`, 'utf8');
    const field = (name: string) => new RegExp(`^${name}:\\s+(.*)$`, 'm').exec(status)?.[1];
    assert.equal(field('Uid'), [uid, uid, uid, uid].join('\t'));
    assert.equal(field('Seccomp'), '2');
    assert.equal(field('NoNewPrivs'), '1');
    for (const set of ['CapInh', 'CapPrm', 'CapEff', 'CapBnd', 'CapAmb'])
      assert.equal(Number(`0x${field(set)}`), 0, set);
    const root = await readdir(`/proc/${pid}/root`);
    assert.deepEqual(
      root.filter((name) => ['root', 'home', 'etc', 'var', 'tmp', 'run', 'sys'].includes(name)),
      [],
    );
    assert.deepEqual(await readdir(`/proc/${pid}/root/old`), []);
    assert.deepEqual(await readdir(`/proc/${pid}/root/proc`), []);
    for (const ns of ['mnt', 'ipc', 'uts'])
      assert.notEqual(await readlink(`/proc/${pid}/ns/${ns}`), await readlink(`/proc/self/ns/${ns}`));
    // The VMM itself is asked to read a forbidden file, and to write one outside its directory.
    const forbidden = await host.hmp(instanceId, 'pmemsave 0 16 "/usr/forbidden"');
    assert.match(forbidden, /Read-only file system|Permission denied/);
    assert.match(await host.hmp(instanceId, 'pmemsave 0 16 "/etc/forbidden"'), /No such file|Read-only/);
    assert.match(await host.hmp(instanceId, 'change_backing_file x y'), /unknown command|Error/i);
    const blockdev = 'drive_add 0 if=none,id=evil,file=/etc/shadow,format=raw';
    assert.match(await host.hmp(instanceId, blockdev), /Could not open|No such file/);
    await host.call('vm.destroy', { command: key(), instanceId });
  });

  it('refuses the VMM the system call that makes a process (S1.5)', async () => {
    // A VMM outside any jail shows that this is a way to run a program of one's own.
    const free = await freeVmm(lab.dir);
    try {
      await free.qmp.execute('migrate', { uri: runs('ran') });
      await until('the program has run', () => existsSync(join(lab.dir, 'ran')));
    } finally {
      await free.end();
    }
    const { instanceId } = await host.launch();
    await until('the guest runs', async () => (await host.round(instanceId)) > 2);
    const refused = host.qmp(instanceId, 'migrate', { uri: runs('/vm/ran') });
    await assert.rejects(refused, /Failed to fork \(Operation not permitted\)/);
    assert.ok(!existsSync(join(host.config.stateDir, 'vms', instanceId, 'run', 'ran')));
    const round = await host.round(instanceId);
    await until('the guest runs on', async () => (await host.round(instanceId)) > round);
    await host.call('vm.destroy', { command: key(), instanceId });
  });

  it('fetches an image once', async () => {
    const instanceId = newId('instance');
    const command = () => ({ command: key(), instanceId, image: host.imageRef });
    await host.call('vm.ensureImage', command());
    const read = lab.chunksRead.length;
    assert.deepEqual(await host.call('vm.ensureImage', command()), { fetched: false });
    assert.equal(lab.chunksRead.length, read);
    await host.call('vm.destroy', { command: key(), instanceId });
  });

  it('leaves nothing over many launches at once (S1.12)', async () => {
    const launched = await Promise.all(Array.from({ length: 5 }, () => host.launch()));
    const pids = new Map(launched.map(({ instanceId }) => [instanceId, pidOf(instanceId)]));
    const uids = new Set(host.agent.host.vms.map(({ record }) => record.uid));
    assert.equal(uids.size, launched.length);
    await Promise.all(
      launched.map(({ instanceId }) => host.call('vm.destroy', { command: key(), instanceId })),
    );
    for (const [instanceId, pid] of pids) assert.deepEqual(await traces(host, instanceId, pid), []);
  });

  it('says degraded without its card: VMs run on, network operations fail, and it finds its card again', async () => {
    const other = await (await lab.host()).start();
    const { instanceId } = await other.launch();
    await until('the guest runs', async () => (await other.round(instanceId)) > 2);
    await other.servers.card.close();
    await until('degraded', async () => (await other.call('host.describe', {})).card === 'degraded');
    await assert.rejects(other.prepare(newId('instance')), code('HostUnreachable'));
    const round = await other.round(instanceId);
    await until('the guest runs on', async () => (await other.round(instanceId)) > round);
    await other.restartCard();
    await until('ok again', async () => (await other.call('host.describe', {})).card === 'ok');
  });

  it('reports at once when a VMM ends by itself', async () => {
    const { instanceId } = await host.launch();
    await host.hmp(instanceId, 'quit').catch(() => undefined);
    await until('the end is reported', () =>
      lab.reports.some(({ vms }) => vms.some((vm) => vm.instanceId === instanceId && vm.state === 'stopped')),
    );
    const report = lab.reports.at(-1);
    assert.equal(report?.card, 'ok');
    await host.call('vm.destroy', { command: key(), instanceId });
  });

  it('reports CPU, memory and traffic, and survives a guest reset', async () => {
    const { instanceId } = await host.launch();
    await until('the guest runs', async () => (await host.round(instanceId)) > 2);
    const pid = pidOf(instanceId);
    await host.call('vm.reboot', { command: key(), instanceId });
    await until('the guest runs again', async () => (await host.round(instanceId)) > 2);
    assert.equal(pidOf(instanceId), pid);
    const { vms } = await host.call('host.describe', {});
    const mine = vms.find((vm) => vm.instanceId === instanceId);
    assert.equal(mine?.state, 'running');
    assert.ok((mine?.residentBytes ?? 0) > 1e6 && (mine?.cpuSeconds ?? 0) > 0);
    assert.equal(mine?.rxBytes, 5);
    await host.call('vm.destroy', { command: key(), instanceId });
  });
});

/** A migration "to a program", which makes a file and swallows the rest. */
const runs = (file: string): string => `exec:/bin/sh -c 'echo >${file}; cat >/dev/null'`;

/** A bare VMM in this directory, with neither jail nor filter. */
const freeVmm = async (dir: string) => {
  const args = [
    '-M',
    'none',
    '-nodefaults',
    '-display',
    'none',
    '-S',
    '-qmp',
    'unix:free.sock,server,nowait',
  ];
  const child = spawn('qemu-system-x86_64', args, { cwd: dir, stdio: 'ignore' });
  const gone = once(child, 'exit');
  const path = join(dir, 'free.sock');
  let qmp: Qmp | undefined;
  const end = async (): Promise<void> => {
    qmp?.close();
    child.kill('SIGKILL');
    await gone;
  };
  try {
    // Its socket has a name before it listens.
    await until('it answers', async () => {
      qmp = await Qmp.connect(path, 5_000).catch(() => undefined);
      return qmp !== undefined;
    });
  } catch (error) {
    await end();
    throw error;
  }
  assert.ok(qmp !== undefined);
  return { qmp, end };
};
