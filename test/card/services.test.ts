import assert from 'node:assert/strict';
import { mkdtemp, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import type { VpcState } from '#contracts/network.ts';
import { attach, Lab, type LabCard, type LabVm, metadataOf, portOf, vpcOf } from './lab.ts';

const service = 'http://169.254.169.254';
const token = `curl -s -m 5 -X PUT -H 'X-aws-ec2-metadata-token-ttl-seconds: 60' ${service}/latest/api/token`;
const status = "-o /dev/null -w '%{http_code}'";

describe('metadata and DHCP', () => {
  let lab: Lab;
  let card: LabCard;
  let a: LabVm;
  let b: LabVm;

  before(async () => {
    lab = await Lab.create();
    card = await lab.card('c1');
    a = await lab.vm('a', card, portOf(10, card.vtep, { publicIp: '203.0.113.20' }));
    b = await lab.vm('b', card, portOf(11, card.vtep));
    await card.client.call('card.applyVpc', { state: vpcOf('vpc-1', 200, 1, [a.port, b.port]) });
    await attach(card, 'vpc-1', a);
    await attach(card, 'vpc-1', b);
  });
  after(() => lab[Symbol.asyncDispose]());

  const get = async (vm: LabVm, path: string): Promise<string> =>
    (await vm.run(`t=$(${token}); curl -s -m 5 -H "X-aws-ec2-metadata-token: $t" ${service}/latest/${path}`))
      .out;

  it('gives each VM its own, after a token', async () => {
    assert.equal(await get(a, 'meta-data/instance-id'), 'i-10');
    assert.equal(await get(b, 'meta-data/instance-id'), 'i-11');
    assert.equal(await get(a, 'user-data'), 'hello eni-10');
    assert.equal(await get(a, 'meta-data/public-ipv4'), '203.0.113.20');
    assert.equal(await get(a, 'meta-data/public-keys/'), '0=laptop');
    assert.equal(await get(a, 'meta-data/public-keys/0/openssh-key'), 'ssh-ed25519 AAAA laptop');
    assert.equal(
      await get(a, `meta-data/network/interfaces/macs/${a.port.mac}/subnet-ipv4-cidr-block`),
      '10.0.0.0/24',
    );
    assert.equal(JSON.parse(await get(a, 'dynamic/instance-identity/document')).privateIp, '10.0.0.10');
  });

  it('refuses without a token, with another VM’s token, behind a proxy, and with a bad lifetime', async () => {
    assert.equal((await a.run(`curl -s -m 5 ${status} ${service}/latest/meta-data/`)).out, '401');
    const { out: others } = await b.run(token);
    const stolen = `curl -s -m 5 ${status} -H 'X-aws-ec2-metadata-token: ${others}' ${service}/latest/meta-data/`;
    assert.equal((await a.run(stolen)).out, '401');
    assert.equal((await b.run(stolen)).out, '200');
    assert.equal((await a.run(`${token} ${status} -H 'X-Forwarded-For: 10.0.0.11'`)).out, '403');
    assert.equal((await a.run(`${token.replace('60', '21601')} ${status}`)).out, '400');
  });

  it('keeps tokens good over a restart of the card', async () => {
    const { out } = await a.run(token);
    await card.stop('SIGKILL');
    await card.start();
    const read = `curl -s --retry 20 --retry-delay 1 --retry-connrefused -m 5 -H 'X-aws-ec2-metadata-token: ${out}' ${service}/latest/meta-data/local-ipv4`;
    assert.equal((await a.run(read)).out, '10.0.0.10');
  });

  it('answers v1 where tokens are optional, and nothing where the endpoint is off', async () => {
    const set = (change: object) =>
      card.client.call('card.prepareAdministrative', {
        vpcId: 'vpc-1',
        eniId: b.port.eniId,
        metadata: { ...metadataOf(b.port), ...change },
      });
    await set({ httpTokens: 'optional' });
    assert.equal((await b.run(`curl -s -m 5 ${service}/1.0/meta-data/instance-id`)).out, 'i-11');
    await set({ httpEndpoint: 'disabled' });
    assert.equal((await b.run(`curl -s -m 5 ${status} ${service}/latest/`)).out, '403');
  });

  it('gives the declared address by DHCP, to discovery and to renewal', async () => {
    const directory = await mkdtemp(join(lab.directory, 'dhcp-'));
    const script = join(directory, 'script');
    await writeFile(
      script,
      `#!/bin/sh\necho "$1 $ip $subnet $router $mtu $domain $hostname $dns $serverid"\n`,
      {
        mode: 0o755,
      },
    );
    await a.run('ip addr flush dev eth0');
    const { out } = await a.run(`busybox udhcpc -i eth0 -n -q -f -t 5 -T 1 -s ${script} -O mtu 2>/dev/null`);
    assert.match(
      out,
      /bound 10\.0\.0\.10 255\.255\.255\.0 10\.0\.0\.1 1400 example\.internal ip-10-0-0-10\.example\.internal 10\.0\.0\.2 10\.0\.0\.1/,
    );
  });

  it('hands out the options that its VPC is associated with, from the next lease on', async () => {
    const directory = await mkdtemp(join(lab.directory, 'options-'));
    const script = join(directory, 'script');
    const shown = '$domain|$dns|$ntpsrv|$wins|$opt46';
    await writeFile(script, `#!/bin/sh\necho "$1|${shown}"\n`, { mode: 0o755 });
    const lease = async (): Promise<string> => {
      await a.run('ip addr flush dev eth0');
      const options = '-O ntpsrv -O wins -O 46';
      const { out } = await a.run(
        `busybox udhcpc -i eth0 -n -q -f -t 5 -T 1 -s ${script} ${options} 2>/dev/null`,
      );
      return out.split('\n').find((line) => line.startsWith('bound')) ?? out;
    };
    const apply = (version: number, more: Partial<VpcState>) =>
      card.client.call('card.applyVpc', { state: vpcOf('vpc-1', 200, version, [a.port, b.port], more) });
    await apply(2, {
      domainName: 'corp.example',
      dnsServers: ['192.0.2.1', '192.0.2.2'],
      dhcp: {
        ntpServers: ['192.0.2.3', '192.0.2.4'],
        netbiosNameServers: ['192.0.2.5'],
        netbiosNodeType: 2,
      },
    });
    assert.equal(await lease(), 'bound|corp.example|192.0.2.1 192.0.2.2|192.0.2.3 192.0.2.4|192.0.2.5|02');
    // Associated with `default`: an address and a router, and nothing else.
    await apply(3, { domainName: '', dnsServers: [] });
    assert.equal(await lease(), 'bound|||||');
  });
});
