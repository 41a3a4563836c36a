import assert from 'node:assert/strict';
import { mkdir, readdir, stat, writeFile } from 'node:fs/promises';
import { connect } from 'node:net';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { checkCredential, makeCredential } from '#agent/migration/credential.ts';
import { exec } from '#base/exec.ts';
import type { TlsMaterial } from '#base/identity.ts';
import { createAuthority, issueCertificate } from '#base/pki.ts';
import type { MigrationCredential } from '#contracts/host.ts';
import { newId } from '#contracts/ids.ts';
import { budgetMsMax, key, Lab, type TestHost, until } from './lab.ts';

const code = (wanted: string) => (error: unknown) => (error as { code?: string }).code === wanted;

describe('what a migration goes through', () => {
  let lab: Lab;
  let source: TestHost;
  let target: TestHost;
  before(async () => {
    lab = await Lab.open();
    source = await (await lab.host()).start();
    target = await (await lab.host()).start();
  });
  after(() => lab.close());

  const offer = async (host: TestHost, instanceId: string): Promise<MigrationCredential> => {
    const { peer } = await host.call('migrate.offer', { command: key(), instanceId });
    assert.ok(peer);
    return peer;
  };
  const begin = async () => {
    const { instanceId } = await source.launch();
    await until('the guest runs', async () => (await source.round(instanceId)) > 2);
    const peer = await offer(source, instanceId);
    const { migration } = await target.launch(instanceId, { incoming: true, peer });
    assert.ok(migration?.peer);
    return { instanceId, listeners: { ...migration, peer: migration.peer } };
  };
  const finish = async (instanceId: string, from = source, to = target): Promise<void> => {
    await until('the copy converges', async () => {
      const { phase, reason } = await from.call('migrate.progress', { instanceId });
      assert.notEqual(phase, 'failed', reason);
      return phase === 'converged';
    });
    const round = await from.round(instanceId);
    await from.call('migrate.switch', { command: key(), instanceId, budgetMs: budgetMsMax });
    await to.call('migrate.commission', { command: key(), instanceId });
    await to.call('migrate.confirm', { command: key(), instanceId });
    await until('it counts on', async () => (await to.round(instanceId)) > round);
  };
  const destroy = async (instanceId: string): Promise<void> => {
    for (const host of [source, target]) await host.call('vm.destroy', { command: key(), instanceId });
  };
  const tlsDir = (host: TestHost, instanceId: string): string =>
    join(host.config.stateDir, 'vms', instanceId, 'tls');

  /** Whether the disk's listener opens to a client with this material; undefined: one that speaks no TLS. */
  const opens = async (diskUri: string, name: string, material?: TlsMaterial): Promise<boolean> => {
    const { hostname, port } = new URL(diskUri);
    const disk = `driver=nbd,server.type=inet,server.host=${hostname},server.port=${port},export=root`;
    if (material === undefined) return succeeds('qemu-img', ['info', '--image-opts', disk]);
    const dir = join(lab.dir, newId('volume'));
    await mkdir(dir);
    await writeFile(join(dir, 'ca-cert.pem'), material.ca);
    await writeFile(join(dir, 'client-cert.pem'), material.cert);
    await writeFile(join(dir, 'client-key.pem'), material.key);
    const object = `tls-creds-x509,id=t,dir=${dir},endpoint=client,sanity-check=off`;
    const args = ['--object', object, '--image-opts', `${disk},tls-creds=t,tls-hostname=${name}`];
    return succeeds('qemu-img', ['info', ...args]);
  };

  it('opens to the VMM that was vouched for, and to nobody else, another agent least of all', async () => {
    const instanceId = newId('instance');
    const agent = await lab.issue('spiffe://pando/agent/h-other');
    const own = await makeCredential(agent, instanceId, 'source');
    const { migration } = await target.launch(instanceId, { incoming: true, peer: own.shown });
    assert.ok(migration?.peer);
    const { diskUri, peer } = migration;
    const ca = peer.certificate;
    assert.equal(await opens(diskUri, instanceId), false, 'no TLS');
    const stranger = await issueCertificate(await createAuthority('stranger'), 'spiffe://pando/vmm/x');
    assert.equal(await opens(diskUri, instanceId, { ...stranger, ca }), false, 'a stranger');
    assert.equal(await opens(diskUri, instanceId, { ...agent, ca }), false, 'an agent by itself');
    const another = await makeCredential(agent, instanceId, 'source');
    const unknown = { ca, cert: another.cert, key: another.key };
    assert.equal(await opens(diskUri, instanceId, unknown), false, 'one that the target was not told of');
    const vouched = { ca, cert: own.cert, key: own.key };
    assert.equal(await opens(diskUri, 'i-other', vouched), false, 'a client that looks for another guest');
    assert.equal(await opens(diskUri, instanceId, { ...vouched, ca: stranger.ca }), false, 'another server');
    assert.equal(await opens(diskUri, instanceId, vouched), true, 'the one that was vouched for');
    await destroy(instanceId);
  });

  it('is not disturbed by noise at its listeners', async () => {
    const { instanceId, listeners } = await begin();
    await noise(listeners.memoryUri);
    await source.call('migrate.start', { command: key(), instanceId, ...listeners });
    await finish(instanceId);
    await destroy(instanceId);
  });

  it('leaves no key in a file, where nobody but root wrote and nobody but the VMM could read', async () => {
    const { instanceId, listeners } = await begin();
    await source.call('migrate.start', { command: key(), instanceId, ...listeners });
    for (const host of [source, target]) {
      assert.deepEqual(await readdir(tlsDir(host, instanceId)), []);
      const { uid, gid, mode } = await stat(tlsDir(host, instanceId));
      assert.deepEqual([uid, gid], [0, host.agent.host.get(instanceId).record.uid]);
      assert.equal(mode & 0o777, 0o750);
    }
    await finish(instanceId);
    const objects = await target.qmp(instanceId, 'qom-list', { path: '/objects' });
    assert.doesNotMatch(JSON.stringify(objects), /migrate/);
    await destroy(instanceId);
  });

  it('is not begun with a peer for whom no agent vouches', async () => {
    const { instanceId } = await source.launch();
    const none = { incoming: true };
    await assert.rejects(target.launch(instanceId, none), code('AccessDenied'));
    const offered = await offer(source, instanceId);
    const forged = { ...offered, certificate: (await createAuthority('evil')).cert };
    await assert.rejects(target.launch(instanceId, { ...none, peer: forged }), code('AccessDenied'));
    await target.call('vm.destroy', { command: key(), instanceId });
    const { migration } = await target.launch(instanceId, { ...none, peer: offered });
    assert.ok(migration?.peer);
    const start = { instanceId, memoryUri: migration.memoryUri, diskUri: migration.diskUri };
    await assert.rejects(source.call('migrate.start', { ...start, command: key() }), code('AccessDenied'));
    const peer = { ...migration.peer, signature: offered.signature };
    await assert.rejects(
      source.call('migrate.start', { ...start, peer, command: key() }),
      code('AccessDenied'),
    );
    assert.equal((await source.call('vm.describe', { instanceId })).state, 'running');
    await source.call('migrate.start', { ...start, peer: migration.peer, command: key() });
    await finish(instanceId);
    await destroy(instanceId);
  });

  it('is in the clear only between hosts that are both told so', async () => {
    const [from, to] = [
      await (await lab.host({ migrationTls: 'off' })).start(),
      await (await lab.host({ migrationTls: 'off' })).start(),
    ];
    const { instanceId } = await from.launch();
    await until('the guest runs', async () => (await from.round(instanceId)) > 2);
    assert.deepEqual(await from.call('migrate.offer', { command: key(), instanceId }), {});
    await assert.rejects(target.launch(instanceId, { incoming: true }), code('AccessDenied'));
    const { migration } = await to.launch(instanceId, { incoming: true });
    assert.ok(migration);
    assert.equal(migration.peer, undefined);
    await from.call('migrate.start', { command: key(), instanceId, ...migration });
    await finish(instanceId, from, to);
    await target.call('vm.destroy', { command: key(), instanceId });
  });
});

describe('the word of an agent', () => {
  it('holds for one guest, one side and one certificate, from an agent of this authority alone', async () => {
    const authority = await createAuthority('pando');
    const agent = await issueCertificate(authority, 'spiffe://pando/agent/h-1');
    const { shown } = await makeCredential(agent, 'i-1', 'source');
    checkCredential(authority.cert, 'i-1', 'source', shown);
    const refused = (...args: Parameters<typeof checkCredential>) =>
      assert.throws(() => checkCredential(...args), code('AccessDenied'));
    refused(authority.cert, 'i-2', 'source', shown);
    refused(authority.cert, 'i-1', 'target', shown);
    refused((await createAuthority('pando')).cert, 'i-1', 'source', shown);
    refused(authority.cert, 'i-1', 'source', { ...shown, agent: 'nonsense' });
    const card = await issueCertificate(authority, 'spiffe://pando/card/c-1');
    refused(authority.cert, 'i-1', 'source', (await makeCredential(card, 'i-1', 'source')).shown);
    const late = await issueCertificate(authority, 'spiffe://pando/agent/h-1', -1);
    refused(authority.cert, 'i-1', 'source', (await makeCredential(late, 'i-1', 'source')).shown);
    refused(authority.cert, 'i-1', 'source', {
      ...shown,
      signature: Buffer.from('no').toString('base64'),
    });
  });
});

const succeeds = (command: string, args: readonly string[]): Promise<boolean> =>
  exec(command, args, { timeoutMs: 10_000 }).then(
    () => true,
    () => false,
  );

/** Connects, says something that is no TLS, and waits to be sent away. */
const noise = (uri: string): Promise<void> =>
  new Promise((resolve) => {
    const [, host = '', port = ''] = uri.split(':');
    const socket = connect(Number(port), host, () => socket.write('GET / HTTP/1.0\r\n\r\n'));
    socket.setTimeout(2_000, () => socket.destroy());
    socket.on('error', () => undefined);
    socket.on('data', () => undefined);
    socket.once('close', () => resolve());
  });
