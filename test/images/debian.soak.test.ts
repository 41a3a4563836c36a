import assert from 'node:assert/strict';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { buildDebianImage } from '../../images/build.ts';
import { imageCache } from './cache.ts';
import { Guest, makeKey } from './guest.ts';
import { startMetadata } from './metadata.ts';

test('Debian: cloud-init takes key, name and user data from the metadata service, and the disk grows', async () => {
  const { dir: imageDir } = await buildDebianImage(imageCache);
  const dir = await mkdtemp(join(tmpdir(), 'pando-guest-'));
  try {
    await using metadata = await startMetadata({
      'meta-data/instance-id': 'i-0000000000000000d',
      'meta-data/local-hostname': 'ip-deb.internal',
      'meta-data/placement/availability-zone': 'pando-1a',
      'meta-data/public-keys/0/openssh-key': await makeKey(dir),
      'dynamic/instance-identity/document': '{"instanceId":"i-0000000000000000d","region":"pando-1"}',
      'user-data': '#!/bin/sh\necho "user data ran on $(hostname)" >/dev/console\n',
    });
    const uuid = 'ec2a1b2c-3d4e-5f60-7182-93a4b5c6d7e8';
    const plan = { imageDir, dir, memoryMib: 512, metadataPort: metadata.port, diskGib: 4, uuid };
    await using guest = await Guest.start(plan);
    await guest.shows('user data ran on ip-deb');
    assert.equal(await guest.ssh('admin', 'sudo id -un; hostname'), 'root\nip-deb');
    assert.ok(Number(await guest.ssh('admin', "df -k / | awk 'END{print $2}'")) > 3.8e6);
    assert.equal(await guest.ssh('admin', 'systemctl --failed --no-legend'), '');
    await assert.rejects(guest.ssh('root', 'true'));
    assert.equal(await guest.powerDown(), 0);
  } finally {
    await rm(dir, { recursive: true, force: true });
  }
});
