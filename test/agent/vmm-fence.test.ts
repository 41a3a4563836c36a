/** A VMM that somebody has broken out of: what it may reach, and what it may make its agent open. */
import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { chown, link, lstat, readFile, rename, rm, symlink, writeFile } from 'node:fs/promises';
import { createServer, type Server } from 'node:net';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { fenceTable, reachOf } from '#agent/vmm-fence.ts';
import { exec } from '#base/exec.ts';
import { newId } from '#contracts/ids.ts';
import { budgetMsMax, key, Lab, type TestHost, until } from './lab.ts';

const uid = 700_123;
const [memoryUri, diskUri] = ['tcp:10.0.0.2:4444', 'nbd://10.0.0.2:5555/root'];

/** For what is to be reached: what is dropped is known to be so much sooner. */
const patienceMs = 30_000;

describe('what a migration asks for', () => {
  it('is the two ports of the one peer for a source, and its own two ports for a target', () => {
    assert.deepEqual(reachOf(uid, { role: 'source', memoryUri, diskUri, phase: 'copying' }), {
      peers: [`${uid} . 10.0.0.2 . 4444`, `${uid} . 10.0.0.2 . 5555`],
      listening: [],
    });
    assert.deepEqual(reachOf(uid, { role: 'target', memoryUri, diskUri }), {
      peers: [],
      listening: [`${uid} . 4444`, `${uid} . 5555`],
    });
    assert.deepEqual(reachOf(uid, undefined), { peers: [], listening: [] });
  });

  it('is the only thing that the table lets through', () => {
    const rules = fenceTable('t', 1000)
      .split('\n')
      .filter((line) => /accept|drop/.test(line) && !/policy/.test(line));
    assert.deepEqual(
      rules.map((line) => /@(\w+) accept|drop/.exec(line)?.[0]),
      ['@peers accept', '@listening accept', 'drop'],
    );
  });
});

describe('a VMM that is broken out of', () => {
  let lab: Lab;
  let host: TestHost;
  let target: TestHost;
  const servers: Server[] = [];
  /** How many connections came to each address. */
  const reached = new Map<string, number>();
  before(async () => {
    lab = await Lab.open();
    host = await (await lab.host()).start();
    target = await (await lab.host()).start();
  });
  after(async () => {
    for (const server of servers) server.close();
    await lab.close();
  });

  /** Listens, and counts who comes. */
  const listen = (address: string): Promise<number> =>
    new Promise((resolve, reject) => {
      const server = createServer((socket) => {
        reached.set(address, (reached.get(address) ?? 0) + 1);
        socket.destroy();
      });
      servers.push(server);
      server.once('error', reject);
      server.listen(0, address, () => {
        const bound = server.address();
        resolve(typeof bound === 'object' && bound !== null ? bound.port : 0);
      });
    });

  /** A process with the uid of a VM's VMM (what a broken-out VMM could be at most) tries to connect. */
  const connectAs = async (who: number, address: string, port: number, waitMs = 1_500): Promise<boolean> => {
    const program = `const s = require('node:net').connect(${port}, '${address}');
      s.on('connect', () => process.exit(0)); s.on('error', () => process.exit(1)); setTimeout(() => process.exit(1), ${waitMs});`;
    const ids = [
      '--reuid',
      String(who),
      '--regid',
      String(who),
      '--clear-groups',
      '--bounding-set=-all',
      '--no-new-privs',
    ];
    const { exitCode } = await exec('setpriv', [...ids, process.execPath, '-e', program], { allow: [1] });
    return exitCode === 0;
  };
  const uidOf = (instanceId: string): number => host.agent.host.get(instanceId).record.uid;

  it('reaches neither the loopback, nor this machine by another address, nor the metadata', async () => {
    const { instanceId } = await host.launch();
    const vmm = uidOf(instanceId);
    const { stdout } = await exec('ip', ['-4', '-o', 'address', 'show', 'scope', 'global']);
    const own = /inet ([\d.]+)/.exec(stdout)?.[1];
    for (const address of ['127.0.0.1', '::1', ...(own === undefined ? [] : [own])]) {
      const port = await listen(address).catch(() => undefined);
      if (port === undefined) continue; // No such family on this machine.
      assert.equal(
        await connectAs(vmm + 5000, address, port, patienceMs),
        true,
        `${address}: another user may`,
      );
      assert.equal(await connectAs(vmm, address, port), false, address);
      assert.equal(reached.get(address), 1, address);
    }
    assert.equal(await connectAs(vmm, '169.254.169.254', 80), false);
    assert.ok((await host.agent.host.context.fence.dropped()) > 0);
    // The VMM itself, by the means that it has: a disk somewhere else.
    const port = await listen('127.0.0.1');
    const seen = reached.get('127.0.0.1');
    const disk = {
      driver: 'nbd',
      'node-name': 'evil',
      server: { type: 'inet', host: '127.0.0.1', port: String(port) },
    };
    await Promise.race([
      assert.rejects(host.qmp(instanceId, 'blockdev-add', { ...disk, 'open-timeout': 0 })),
      new Promise((resolve) => setTimeout(resolve, 2_000)),
    ]);
    assert.equal(reached.get('127.0.0.1'), seen);
    await host.call('vm.destroy', { command: key(), instanceId });
  });

  it('reaches the peer of its own migration, and no other VM does; afterwards it does not either', async () => {
    const { instanceId } = await host.launch();
    const { instanceId: neighbour } = await host.launch();
    await until('the guest runs', async () => (await host.round(instanceId)) > 2);
    const { peer } = await host.call('migrate.offer', { command: key(), instanceId });
    const { migration } = await target.launch(instanceId, { incoming: true, peer });
    assert.ok(migration);
    const port = Number(new URL(migration.memoryUri.replace('tcp:', 'tcp://')).port);
    assert.equal(await connectAs(uidOf(neighbour), '127.0.0.1', port), false, "a neighbour's VMM");
    assert.equal(await connectAs(uidOf(instanceId), '127.0.0.1', port), false, 'before its migration starts');
    // The target's own uid may answer from its port, not connect from it.
    const targetUid = target.agent.host.get(instanceId).record.uid;
    assert.equal(await connectAs(targetUid, '127.0.0.1', await listen('127.0.0.1')), false);
    await host.call('migrate.start', { command: key(), instanceId, ...migration });
    await until('the copy converges', async () => {
      const { phase, reason } = await host.call('migrate.progress', { instanceId });
      assert.notEqual(phase, 'failed', reason);
      return phase === 'converged';
    });
    await host.call('migrate.switch', { command: key(), instanceId, budgetMs: budgetMsMax });
    await target.call('migrate.commission', { command: key(), instanceId });
    await target.call('migrate.confirm', { command: key(), instanceId });
    for (const each of [host, target]) await each.call('vm.destroy', { command: key(), instanceId });
    const { runPrefix } = host.config;
    const { stdout } = await exec('nft', [
      'list',
      'table',
      'inet',
      `pando_vmm_${runPrefix}`.replaceAll('-', '_'),
    ]);
    assert.ok(!stdout.includes('elements'), stdout);
    await host.call('vm.destroy', { command: key(), instanceId: neighbour });
  });

  it('cannot make its agent follow a link or wait for a FIFO; its monitor is out of its reach', async () => {
    const { instanceId } = await host.launch();
    const dir = join(host.config.stateDir, 'vms', instanceId);
    const vmm = uidOf(instanceId);
    const sockets = await lstat(join(dir, 'sockets'));
    assert.deepEqual([sockets.uid, sockets.mode & 0o777], [0, 0o700]);
    assert.ok(!existsSync(join(dir, 'run', 'qmp.sock')));
    const log = join(dir, 'run', 'console.log');
    const secret = join(lab.dir, 'secret');
    await writeFile(secret, 'secret', { mode: 0o600 });
    const console = async (): Promise<string> => (await host.call('vm.console', { instanceId })).output;
    await rm(log, { force: true });
    await symlink(secret, log);
    assert.ok(!(await console()).includes('secret'));
    await rm(log);
    await exec('mkfifo', [log]);
    await chown(log, vmm, vmm);
    assert.equal(typeof (await console()), 'string');
    await host.agent.host.trim();
    await rm(log);
    assert.equal(await readFile(secret, 'utf8'), 'secret');
    await host.call('vm.destroy', { command: key(), instanceId });
  });

  it('of an earlier release is adopted by the socket that it has; one that was planted is not dialled', async () => {
    const instanceId = newId('instance');
    await host.launch(instanceId);
    const dir = join(host.config.stateDir, 'vms', instanceId);
    // As the last release left it: sockets among what the VMM may write.
    for (const name of ['qmp.sock', 'qmp2.sock'])
      await link(join(dir, 'sockets', name), join(dir, 'run', name));
    host.stop();
    await rename(join(dir, 'sockets'), join(dir, 'away'));
    await host.start();
    const { vms } = await host.call('host.describe', {});
    assert.equal(vms.find((vm) => vm.instanceId === instanceId)?.state, 'running');
    await host.call('vm.reboot', { command: key(), instanceId });
    // A link to a socket of somebody else's.
    host.stop();
    await rename(join(dir, 'run', 'qmp.sock'), join(dir, 'run', 'aside'));
    await symlink(join(dir, 'run', 'aside'), join(dir, 'run', 'qmp.sock'));
    await host.start();
    await assert.rejects(host.call('vm.reboot', { command: key(), instanceId }), { code: 'NotReady' });
    await host.call('vm.destroy', { command: key(), instanceId });
  });
});
