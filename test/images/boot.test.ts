import assert from 'node:assert/strict';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { buildDefaultImage } from '../../images/build.ts';
import { imageCache } from './cache.ts';
import { Guest, makeKey } from './guest.ts';
import { startMetadata } from './metadata.ts';

const userData = '#!/bin/sh\necho "run for $(hostname)" >>/var/lib/user-data-runs\n';
let imageDir = '';
const dirs: string[] = [];

before(async () => {
  imageDir = (await buildDefaultImage(imageCache)).dir;
});
after(async () => {
  for (const dir of dirs) await rm(dir, { recursive: true, force: true });
});

async function ownDir(): Promise<string> {
  const dir = await mkdtemp(join(tmpdir(), 'pando-guest-'));
  dirs.push(dir);
  return dir;
}

function identity(key: string, id: string, name: string): Record<string, string> {
  return {
    'meta-data/instance-id': id,
    'meta-data/local-hostname': name,
    'meta-data/public-keys/0/openssh-key': key,
    'user-data': userData,
  };
}

test('a launch, a reboot and a launch from its disk', async () => {
  const dir = await ownDir();
  const key = await makeKey(dir);
  await using metadata = await startMetadata(identity(key, 'i-00000000000000001', 'ip-one.internal'));
  const plan = { imageDir, dir, memoryMib: 128, metadataPort: metadata.port, diskGib: 3 };
  let firstKeys = '';
  {
    await using guest = await Guest.start(plan);
    assert.match(
      await guest.until('page', () => guest.page('/')),
      /^instance-id: .*\nhostname: .*\nprivate-ip: 169/,
    );
    await guest.shows('pando-micro ready i-00000000000000001');
    await guest.shows('user data: done');
    const page = (await guest.page('/')) ?? '';
    assert.match(
      page,
      /^instance-id: i-00000000000000001\nhostname: ip-one.internal\nprivate-ip: 169.254.169.15\nuptime: \d/,
    );

    assert.equal(await guest.ssh('root', 'hostname'), 'ip-one.internal');
    assert.equal(await guest.ssh('ec2-user', 'id -un; pwd'), 'ec2-user\n/home/ec2-user');
    const refused = guest.ssh('root', 'true', ['-o', 'PubkeyAuthentication=no']);
    await assert.rejects(refused, /Permission denied \(publickey\)/);

    const grown = async () =>
      Number(await guest.ssh('root', "df -k / | awk 'END{print $2}'")) > 2.8e6 ? true : undefined;
    await guest.until('grown file system', grown);
    const drift = Number(await guest.ssh('root', 'date +%s')) - Date.now() / 1000;
    assert.ok(Math.abs(drift) < 60, `the clock is right at boot, not ${drift} s off`);
    firstKeys = await guest.ssh('root', 'cat /etc/dropbear/*_host_key | md5sum');

    guest.console = '';
    await guest.ssh('root', 'reboot').catch(() => '');
    await guest.shows('pando-micro ready i-00000000000000001');
    assert.equal(await guest.ssh('root', 'cat /var/lib/user-data-runs'), 'run for ip-one.internal');
    assert.equal(await guest.ssh('root', 'cat /etc/dropbear/*_host_key | md5sum'), firstKeys);
    assert.equal(await guest.powerDown(), 0);
    assert.match(guest.console, /Requesting system poweroff/);
  }

  for (const [path, value] of Object.entries(identity(key, 'i-00000000000000002', 'ip-two.internal'))) {
    metadata.values.set(path, value);
  }
  await using clone = await Guest.start(plan);
  await clone.shows('pando-micro ready i-00000000000000002');
  await clone.shows('user data: done');
  assert.equal(
    await clone.ssh('root', 'cat /var/lib/user-data-runs'),
    'run for ip-one.internal\nrun for ip-two.internal',
  );
  assert.notEqual(await clone.ssh('root', 'cat /etc/dropbear/*_host_key | md5sum'), firstKeys);
});

test('the smallest instance: 64 MiB, and the memory witness counts its rounds', async () => {
  const dir = await ownDir();
  const key = await makeKey(dir);
  await using metadata = await startMetadata(identity(key, 'i-00000000000000064', 'small.internal'));
  await using guest = await Guest.start({ imageDir, dir, memoryMib: 64, metadataPort: metadata.port });
  await guest.shows('pando-micro ready i-00000000000000064');
  assert.equal(await guest.ssh('ec2-user', 'hostname'), 'small.internal');

  const started = await guest.until('an answer', () => guest.page('/cgi-bin/memcheck?start=8'));
  assert.match(started, /^state=running\n/);
  const rounds = async (): Promise<number | undefined> => {
    const report = (await guest.page('/cgi-bin/memcheck')) ?? '';
    const [, round, errors] =
      /^state=running\nround=([0-9a-f]{16}) errors=([0-9a-f]{16})\n$/.exec(report) ?? [];
    if (round === undefined) return undefined;
    assert.equal(errors, '0'.repeat(16));
    return Number.parseInt(round, 16);
  };
  const first = await guest.until('first rounds', rounds);
  await guest.until('further rounds', async () => (((await rounds()) ?? 0) > first ? true : undefined));
  const stopped = await guest.until('an answer', () => guest.page('/cgi-bin/memcheck?stop'));
  assert.match(stopped, /^state=stopped/);
});

test('an interface that is plugged in later gives the machine its identity', async () => {
  const dir = await ownDir();
  const key = await makeKey(dir);
  await using metadata = await startMetadata(identity(key, 'i-00000000000000003', 'late.internal'));
  const plan = { imageDir, dir, memoryMib: 128, metadataPort: metadata.port, unplugged: true };
  await using guest = await Guest.start(plan);
  await guest.shows('pando-micro: booting');
  await guest.monitor('device_add', { driver: 'virtio-net-pci', netdev: 'n', id: 'late', romfile: '' });
  await guest.shows('pando-micro ready i-00000000000000003');
  assert.match(await guest.until('page', () => guest.page('/')), /hostname: late.internal/);
  assert.equal(await guest.ssh('root', 'hostname'), 'late.internal');
  assert.equal(await guest.powerDown(), 0);
});
