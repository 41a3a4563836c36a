import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { mkdir, readFile, rename, rmdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { exec } from '#base/exec.ts';
import { guestServicesUidBase } from '#card/limits.ts';
import { attach, eventually, Lab, type LabCard, type LabVm, portOf, vpcOf } from './lab.ts';

const ping = (ip: string): string => `ping -c 1 -W 1 ${ip} >/dev/null`;
/** One packet that must be answered, however long a machine that does other things too takes for it. */
const patientPing = (ip: string): string => `ping -c 1 -W 15 ${ip} >/dev/null`;

describe('life of a card', () => {
  let lab: Lab;
  let one: LabCard;
  let two: LabCard;
  let a: LabVm;
  let b: LabVm;

  before(async () => {
    lab = await Lab.create();
    [one, two] = await Promise.all([lab.card('c1'), lab.card('c2')]);
    a = await lab.vm('a', one, portOf(10, one.vtep));
    b = await lab.vm('b', two, portOf(11, two.vtep));
    const state = vpcOf('vpc-1', 400, 1, [a.port, b.port]);
    for (const card of [one, two]) await card.client.call('card.applyVpc', { state });
    await attach(one, 'vpc-1', a);
    await attach(two, 'vpc-1', b);
  });
  after(() => lab[Symbol.asyncDispose]());

  const ruleset = async (card: LabCard): Promise<string> =>
    (await exec('nsenter', [`--net=/run/netns/${card.namespacePrefix}vpc-1`, 'nft', 'list', 'ruleset']))
      .stdout;
  const wiring = async (card: LabCard): Promise<string> =>
    (
      await exec('nsenter', [
        `--net=/run/netns/${card.namespacePrefix}vpc-1`,
        'sh',
        '-c',
        'ip route show table all; ip rule; ip neigh; bridge fdb show dev vx0; ip addr show lo',
      ])
    ).stdout;
  const leftovers = async (card: LabCard): Promise<string> => {
    const namespaces = (await exec('ip', ['netns', 'list'])).stdout;
    const links = (await exec('ip', ['-n', card.netns, '-o', 'link'])).stdout;
    const rules = (await exec('nsenter', [`--net=/run/netns/${card.netns}`, 'nft', 'list', 'ruleset']))
      .stdout;
    return `${namespaces
      .split('\n')
      .filter((line) => line.startsWith(card.namespacePrefix))
      .join('\n')}${links
      .split('\n')
      .map((line) => line.split(':')[1])
      .join()}${rules}`;
  };

  it('traffic flows on over kill -9; the next process adopts what is there and changes it further', async () => {
    const pings = a.run('ping -i 0.05 -c 60 -W 1 10.0.0.11', 30_000);
    const before = [await ruleset(one), await wiring(one)];
    await one.stop('SIGKILL');
    assert.ok((await a.run(patientPing('10.0.0.11'))).ok);
    await one.start();
    assert.match((await pings).out, / 0% packet loss/);
    assert.deepEqual([await ruleset(one), await wiring(one)].map(sorted), before.map(sorted));
    const status = await one.client.call('card.status', {});
    assert.deepEqual(status.vpcs, [{ vpcId: 'vpc-1', version: 1 }]);
    assert.deepEqual(status.ports, [{ eniId: 'eni-10', vpcId: 'vpc-1', tap: 'tapa', epoch: 1 }]);
    const closed = vpcOf('vpc-1', 400, 2, [a.port, b.port], {
      groups: [{ groupId: 'sg-open', ingress: [], egress: [{ protocol: '-1', cidr: '0.0.0.0/0' }] }],
    });
    await one.client.call('card.applyVpc', { state: closed });
    assert.equal((await b.run(ping('10.0.0.10'))).ok, false);
    await one.client.call('card.applyVpc', { state: vpcOf('vpc-1', 400, 3, [a.port, b.port]) });
    assert.ok((await b.run(patientPing('10.0.0.10'))).ok);
  });

  it('makes a VPC where its namespace was begun and never mounted, and removes such a file that nobody knows', async () => {
    const [begun, stray] = ['vpc-9', 'vpc-stray'].map((vpc) => `/run/netns/${one.namespacePrefix}${vpc}`);
    assert.ok(begun && stray);
    for (const file of [begun, stray]) await writeFile(file, '', { flag: 'wx', mode: 0o000 });
    await one.client.call('card.applyVpc', { state: vpcOf('vpc-9', 409, 1, []) });
    const port = portOf(90, one.vtep);
    await one.client.call('card.applyVpc', { state: vpcOf('vpc-9', 409, 2, [port]) });
    const guest = await lab.vm('z', one, port);
    await attach(one, 'vpc-9', guest);
    assert.ok((await guest.run(patientPing('10.0.0.1'))).ok, 'the namespace works');
    await one.client.call('card.detachPort', { eniId: 'eni-90' });
    await one.client.call('card.removeVpc', { vpcId: 'vpc-9' });
    await one.stop('SIGTERM');
    await one.start();
    for (const file of [begun, stray]) assert.equal(existsSync(file), false, file);
  });

  it('repairs what was lost behind its back', async () => {
    await one.stop('SIGTERM');
    await exec('nsenter', [
      `--net=/run/netns/${one.namespacePrefix}vpc-1`,
      'sh',
      '-c',
      'ip route del 10.0.0.11; ip neigh del 10.0.0.10 dev tapa; nft flush ruleset; bridge fdb del 02:00:00:00:00:0b dev vx0 self; ip route add 10.0.0.200/32 dev vx0; ip rule add pref 7 lookup 9',
    ]);
    await one.start();
    assert.ok((await a.run(patientPing('10.0.0.11'))).ok);
    assert.ok(!(await wiring(one)).includes('10.0.0.200'));
  });

  it('keeps the flows that a migration brought over a restart, and knows those of its own', async () => {
    const flow = { protocol: 6, src: '10.0.0.99', dst: '10.0.0.10', sport: 5555, dport: 22 };
    await one.client.call('card.importFlows', { eniId: 'eni-10', flows: [flow] });
    await one.stop('SIGKILL');
    await one.start();
    const both = (await ruleset(one)).match(/10\.0\.0\.99 \. 5555|10\.0\.0\.10 \. 22/g);
    assert.equal(both?.length, 4);
    b.start('socat', ['TCP-LISTEN:8000,fork', 'SYSTEM:cat']);
    await eventually(
      () => a.run('socat -T 2 - TCP:10.0.0.11:8000,connect-timeout=1 </dev/null'),
      ({ ok }) => ok,
    );
    const { flows } = await one.client.call('card.exportFlows', { eniId: 'eni-10' });
    assert.ok(
      flows.some(({ protocol, src, dport }) => protocol === 6 && src === '10.0.0.10' && dport === 8000),
    );
  });

  it('attaches in two steps: recorded while the tap is still the host’s, wired when it comes', async () => {
    const port = portOf(20, one.vtep);
    for (const card of [one, two])
      await card.client.call('card.applyVpc', { state: vpcOf('vpc-1', 400, 4, [a.port, b.port, port]) });
    await one.client.call('card.attachPort', { vpcId: 'vpc-1', port, tap: 'tapd', activate: true });
    const d = await lab.vm('d', one, port);
    assert.equal((await d.run(ping('10.0.0.10'))).ok, false);
    await one.client.call('card.attachPort', { vpcId: 'vpc-1', port, tap: 'tapd', activate: true });
    assert.ok((await d.run(patientPing('10.0.0.11'))).ok);
    const { ports, underlay } = await one.client.call('card.counters', {});
    assert.ok(ports.find(({ eniId }) => eniId === 'eni-20')?.rxPackets);
    assert.ok(underlay !== undefined && underlay.txBytes > 0 && underlay.rxBytes > 0);
    // What the kernel says of a veth.
    assert.equal(underlay.speedMbps, 10_000);
    await one.client.call('card.detachPort', { eniId: 'eni-20' });
  });

  it('takes the place of a tap that an ended VMM left there; not of one that a process has open', async () => {
    const inside = `${one.namespacePrefix}vpc-1`;
    const [left, second] = [portOf(21, one.vtep), portOf(22, one.vtep)];
    for (const card of [one, two])
      await card.client.call('card.applyVpc', {
        state: vpcOf('vpc-1', 400, 5, [a.port, b.port, left, second]),
      });
    await exec('ip', ['-n', inside, 'tuntap', 'add', 'name', 'tapleft', 'mode', 'tap']);
    const g = await lab.vm('left', one, left);
    await attach(one, 'vpc-1', g);
    assert.ok((await g.run(patientPing('10.0.0.11'))).ok);
    await exec('ip', ['-n', one.netns, 'tuntap', 'add', 'name', 'tapleft', 'mode', 'tap']);
    await assert.rejects(
      one.client.call('card.attachPort', { vpcId: 'vpc-1', port: second, tap: 'tapleft', activate: true }),
      { code: 'Conflict' },
    );
    assert.ok((await g.run(patientPing('10.0.0.11'))).ok, 'the guest keeps its wire');
    await exec('ip', ['-n', one.netns, 'link', 'del', 'dev', 'tapleft']);
    await one.client.call('card.detachPort', { eniId: left.eniId });
  });

  it('a tap that takes the place of another of its name has all that the other had', async () => {
    const port = portOf(24, one.vtep);
    for (const card of [one, two])
      await card.client.call('card.applyVpc', {
        state: vpcOf('vpc-1', 400, 6, [a.port, b.port, port]),
      });
    // A card that died while it took the tap of an earlier VMM leaves it in its own namespace.
    await exec('ip', ['-n', one.netns, 'tuntap', 'add', 'name', 'tapagain', 'mode', 'tap']);
    await one.client.call('card.attachPort', { vpcId: 'vpc-1', port, tap: 'tapagain', activate: true });
    const g = await lab.vm('again', one, port);
    await attach(one, 'vpc-1', g);
    assert.ok((await g.run(patientPing('10.0.0.11'))).ok);
    assert.ok((await b.run(patientPing(port.ip))).ok);
    await one.client.call('card.detachPort', { eniId: port.eniId });
  });

  it('a detachment that cannot be written down leaves no tap that nobody knows of', async () => {
    const port = portOf(23, one.vtep);
    await one.client.call('card.applyVpc', { state: vpcOf('vpc-9', 409, 1, [port]) });
    const h = await lab.vm('kept', one, port);
    await attach(one, 'vpc-9', h);
    const record = join(one.stateDir, 'vpcs', 'vpc-9.json');
    await rename(record, `${record}.kept`);
    await mkdir(record);
    await assert.rejects(one.client.call('card.detachPort', { eniId: port.eniId }));
    const links = await exec('ip', ['-n', `${one.namespacePrefix}vpc-9`, '-o', 'link']);
    assert.doesNotMatch(links.stdout, /tapkept/);
    // As if it had died there: the record still names the port, and the command comes again.
    await one.stop('SIGKILL');
    await rmdir(record);
    await rename(`${record}.kept`, record);
    await one.start();
    await one.client.call('card.detachPort', { eniId: port.eniId });
    await one.client.call('card.removeVpc', { vpcId: 'vpc-9' });
  });

  it('does not remove a VPC that has ports (Conflict), and keeps a port that comes while it is being removed', async () => {
    await assert.rejects(one.client.call('card.removeVpc', { vpcId: 'vpc-1' }), { code: 'Conflict' });
    assert.ok((await a.run(patientPing('10.0.0.11'))).ok);
    const port = portOf(31, one.vtep);
    const state = vpcOf('vpc-8', 408, 1, [port]);
    await one.client.call('card.applyVpc', { state });
    // All three are under way at once, in this order: what comes behind the removal is not lost with it.
    const [removed, , attached] = await Promise.all([
      one.client.call('card.removeVpc', { vpcId: 'vpc-8' }),
      one.client.call('card.applyVpc', { state }),
      one.client.call('card.attachPort', { vpcId: 'vpc-8', port, tap: 'tapz', activate: true }),
    ]);
    assert.deepEqual(removed, {});
    assert.equal(attached.kind, 'vpc');
    const { ports, vpcs } = await one.client.call('card.status', {});
    assert.ok(ports.some(({ eniId }) => eniId === port.eniId));
    assert.ok(vpcs.some(({ vpcId }) => vpcId === 'vpc-8'));
    await one.client.call('card.detachPort', { eniId: port.eniId });
    await one.client.call('card.removeVpc', { vpcId: 'vpc-8' });
  });

  it('leaves a namespace alone that has taps and no record: its VMs run', async () => {
    await one.stop('SIGKILL');
    await writeFile(join(one.stateDir, 'vpcs', 'vpc-1.json'), '{');
    await one.start();
    assert.ok((await a.run(patientPing('10.0.0.11'))).ok, 'the taps are not taken from running VMs');
    await assert.rejects(one.client.call('card.removeVpc', { vpcId: 'vpc-1' }), { code: 'Conflict' });
    await one.client.call('card.applyVpc', { state: vpcOf('vpc-1', 400, 6, [a.port, b.port]) });
    assert.ok((await a.run(patientPing('10.0.0.11'))).ok);
    await attach(one, 'vpc-1', a);
    assert.ok((await a.run(patientPing('10.0.0.11'))).ok);
  });

  it('tells its counters also while a namespace is removed', async () => {
    const port = portOf(40, one.vtep);
    const state = vpcOf('vpc-8', 408, 1, [port]);
    for (let times = 0; times < 5; times++) {
      await one.client.call('card.applyVpc', { state });
      const e = await lab.vm(`e${times}`, one, port);
      await attach(one, 'vpc-8', e);
      const removal = one.client.call('card.detachPort', { eniId: port.eniId });
      let removed = false;
      void removal.then(() => {
        removed = true;
      });
      while (!removed) {
        const asked = Array.from({ length: 50 }, () => one.client.call('card.counters', {}));
        for (const { ports } of await Promise.all(asked))
          assert.ok(ports.some(({ eniId }) => eniId === 'eni-10'));
      }
      await removal;
      await one.client.call('card.removeVpc', { vpcId: 'vpc-8' });
    }
  });

  /** A card with a VPC whose only port has come and gone. */
  const emptied = async (card: LabCard, vpcId: string, vni: number, guest: LabVm): Promise<void> => {
    await card.client.call('card.applyVpc', { state: vpcOf(vpcId, vni, 1, [guest.port]) });
    await attach(card, vpcId, guest);
    for (let times = 0; times < 2; times++)
      await card.client.call('card.detachPort', { eniId: guest.port.eniId });
  };
  const helperOf = async (card: LabCard, vpcId: string, vni: number): Promise<string | undefined> => {
    const { stdout } = await exec('ip', ['netns', 'pids', `${card.namespacePrefix}${vpcId}`], { allow: [1] });
    const owners = await Promise.all(
      stdout
        .split('\n')
        .filter(Boolean)
        .map(async (pid) => [pid, await readFile(`/proc/${pid}/status`, 'utf8').catch(() => '')] as const),
    );
    const ofUser = new RegExp(`^Uid:\\t${guestServicesUidBase + vni}\\t`, 'm');
    return owners.find(([, status]) => ofUser.test(status))?.[0];
  };

  it('keeps a VPC open for its next port, and leaves nothing of it once it is removed', async () => {
    const before = await leftovers(one);
    const guest = await lab.vm('c', one, portOf(30, one.vtep));
    await emptied(one, 'vpc-9', 409, guest);
    assert.notEqual(await leftovers(one), before);
    const helper = await helperOf(one, 'vpc-9', 409);
    assert.ok(helper !== undefined);
    const rules = async (): Promise<string> =>
      (await exec('nsenter', [`--net=/run/netns/${one.namespacePrefix}vpc-9`, 'ip', 'route'])).stdout;
    assert.ok(!(await rules()).includes(guest.port.ip), 'nothing of the port is left');
    // What is declared meanwhile is there when the next port comes.
    const [next, remote] = [portOf(32, one.vtep), portOf(33, two.vtep)];
    await one.client.call('card.applyVpc', { state: vpcOf('vpc-9', 409, 2, [next, remote]) });
    assert.ok((await rules()).includes(`${remote.ip} `));
    const second = await lab.vm('d2', one, next);
    await attach(one, 'vpc-9', second);
    assert.equal(await helperOf(one, 'vpc-9', 409), helper, 'no process is started for it');
    assert.ok((await second.run(patientPing('10.0.0.1'))).ok);
    await one.client.call('card.detachPort', { eniId: next.eniId });
    await one.client.call('card.removeVpc', { vpcId: 'vpc-9' });
    assert.equal(await leftovers(one), before);
  });

  it('closes a VPC by itself when no port has come in time, and at its next start', async () => {
    const card = await lab.card('c3', { emptyVpcKeptMs: 300 });
    const before = await leftovers(card);
    const guest = await lab.vm('f', card, portOf(34, card.vtep));
    await emptied(card, 'vpc-6', 406, guest);
    await eventually(
      () => leftovers(card),
      (now) => now === before,
    );
    const later = await lab.vm('g', one, portOf(35, one.vtep));
    await emptied(one, 'vpc-6', 406, later);
    await one.stop('SIGKILL');
    await one.start();
    assert.ok(!(await leftovers(one)).includes('vpc-6'));
  });
});

const sorted = (text: string): string[] =>
  text
    .split(/[\n,]/)
    .map((line) => line.trim())
    .sort();
