/** Debian with its own cloud-init in a region: key, name, user data of two kinds and status by evidence; beside it a disk from which nothing boots. */
import assert from 'node:assert/strict';
import { chmod, mkdtemp, rm } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { exec } from '#base/exec.ts';
import { ensureImage } from '#cli/commands/image.ts';
import { sshOptions } from '#cli/commands/ssh.ts';
import { at, itemsAt, textAt } from '#cli/xmlTree.ts';
import type { Vm } from './support/cloud.ts';
import { startRegion, type TestRegion } from './support/region.ts';
import { until } from './support/until.ts';

/** systemd and cloud-init take minutes under emulation on a busy machine. */
const bootMs = 15 * 60_000;
/** A guest gets five minutes to ask for its address. */
const impairedMs = 10 * 60_000;
const sshTimeoutMs = 120_000;
/** Systemd and cloud-init with room to spare. */
const type = 'custom.1000m.512';

/** Both kinds in one, as cloud-init's documentation writes it. */
const userData = `MIME-Version: 1.0
Content-Type: multipart/mixed; boundary="//"

--//
Content-Type: text/cloud-config; charset="us-ascii"

#cloud-config
write_files:
  - path: /etc/pando-written
    content: by cloud-config
runcmd:
  - [sh, -c, 'echo "runcmd on $(hostname)" > /var/tmp/ran']

--//
Content-Type: text/x-shellscript; charset="us-ascii"

#!/bin/sh
echo "a script as $(id -un)" > /var/tmp/script
--//--
`;

describe('Debian in a region', { timeout: 40 * 60_000 }, () => {
  let region: TestRegion;
  let debian: Vm;
  let bootless: string;
  let emptyDir: string | undefined;

  before(async () => {
    const { dir } = await ensureImage('debian', () => undefined);
    region = await startRegion({ cells: 1, hostsPerCell: 1 });
    const { cloud } = region;
    // Only there the region takes files from.
    emptyDir = await mkdtemp(join(dirname(dir), '.empty-'));
    await chmod(emptyDir, 0o755);
    const empty = join(emptyDir, 'empty.qcow2');
    await exec('qemu-img', ['create', '-q', '-f', 'qcow2', empty, '64M']);
    const [debianImage, emptyImage] = [
      await cloud.register('debian', dir),
      await cloud.register('empty', empty),
    ];
    const network = await cloud.network('10.63.0.0/16', [22]);
    [bootless = ''] = await cloud.launch({ network, imageId: emptyImage });
    const ids = await cloud.launch({ network, imageId: debianImage, type, userData });
    const [vm] = await cloud.reach('running', ids);
    assert.ok(vm);
    debian = vm;
  });
  after(async () => {
    await region?.[Symbol.asyncDispose]();
    if (emptyDir !== undefined) await rm(emptyDir, { recursive: true, force: true });
  });

  const shell = async (command: string, user = 'admin'): Promise<string> => {
    const target = [...sshOptions(region.cloud.keyFile), '-o', 'BatchMode=yes', `${user}@${debian.publicIp}`];
    return (await exec('ssh', [...target, command], { timeoutMs: sshTimeoutMs })).stdout.trim();
  };
  const statusOf = async (id: string): Promise<Record<'instance' | 'system' | 'impairedSince', string>> => {
    const answer = await region.cloud.ec2.call('DescribeInstanceStatus', { 'InstanceId.1': id });
    const item = at(answer, 'instanceStatusSet', 'item') ?? answer;
    return {
      instance: textAt(item, 'instanceStatus', 'status'),
      system: textAt(item, 'systemStatus', 'status'),
      impairedSince: textAt(item, 'instanceStatus', 'details', 'item', 'impairedSince'),
    };
  };

  it('lets its key in as Debian’s user, who is root by sudo, and nobody as root', async (t) => {
    const began = performance.now();
    await until('a shell', () => shell('true').then(() => true), bootMs);
    t.diagnostic(`a shell ${((performance.now() - began) / 1000).toFixed(0)} s after it was running`);
    assert.equal(await shell('sudo id -un'), 'root');
    await assert.rejects(shell('test -w /etc', 'root'), 'cloud-init refuses root');
  });

  it('cloud-init has done both kinds of user data, found EC2’s metadata, and nothing failed', async () => {
    await until(
      'cloud-init has ended',
      async () => /^status: (done|error)/.test(await shell('cloud-init status --wait || true')),
      bootMs,
    );
    assert.match(await shell('cloud-init status --long || true'), /^status: done/);
    assert.equal(await shell('cat /etc/pando-written'), 'by cloud-config');
    assert.equal(await shell('cat /var/tmp/script'), 'a script as root');
    const name = `ip-${debian.privateIp.replaceAll('.', '-')}`;
    assert.equal(await shell('cat /var/tmp/ran'), `runcmd on ${name}`);
    assert.equal(await shell('cat /run/cloud-init/.instance-id'), debian.instanceId);
    assert.match(await shell('cloud-init query --format "{{ cloud_name }} {{ v1.region }}"'), /^aws|^ec2/i);
    assert.equal(await shell('systemctl --failed --no-legend'), '');
    assert.ok(Number(await shell("df -k / | awk 'END{print $2}'")) > 1024 ** 2, 'its disk has grown');
  });

  it('its status is ok, and its console tells of it', async () => {
    const status = await until('it is ok', async () => {
      const now = await statusOf(debian.instanceId);
      return now.instance === 'ok' && now;
    });
    assert.deepEqual([status.system, status.impairedSince], ['ok', '']);
    const answer = await region.cloud.ec2.call('GetConsoleOutput', { InstanceId: debian.instanceId });
    assert.match(
      Buffer.from(textAt(answer, 'output'), 'base64').toString(),
      /Cloud-init v\. .* finished|debian login|ip-.* login/,
    );
  });

  it('the one whose disk boots nothing is impaired since a time, by its own check alone', async () => {
    const status = await until(
      'it is impaired',
      async () => {
        const now = await statusOf(bootless);
        return now.instance === 'impaired' && now;
      },
      impairedMs,
    );
    assert.equal(status.system, 'ok');
    assert.ok(!Number.isNaN(Date.parse(status.impairedSince)));
    const filter = { 'Filter.1.Name': 'instance-status.status', 'Filter.1.Value.1': 'impaired' };
    const found = itemsAt(await region.cloud.ec2.call('DescribeInstanceStatus', filter), 'instanceStatusSet');
    assert.deepEqual(
      found.map((item) => textAt(item, 'instanceId')),
      [bootless],
    );
    const { state } = await region.cloud.vm(bootless);
    assert.equal(state, 'running');
  });
});
