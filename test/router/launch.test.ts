import assert from 'node:assert/strict';
import { afterEach, beforeEach, describe, it } from 'node:test';
import { cellNumberOf } from '#contracts/ids.ts';
import { type Cloud, codeOf, type Reply, startCloud, textsOf } from './cloud.ts';
import type { FakeCell } from './fakeCell.ts';
import { until } from './realCloud.ts';

/** Where cells do not answer: they are waited for. */
const impatient = { callTimeoutMs: 2_000, healthTimeoutMs: 1_000 };

describe('RunInstances', () => {
  let cloud: Cloud;
  const start = async (limits: Readonly<Record<string, number>> = {}): Promise<void> => {
    cloud = await startCloud({ zones: ['lab-1a', 'lab-1a', 'lab-1a', 'lab-1b'], limits });
  };
  beforeEach(() => start());
  afterEach(() => cloud.close());

  const run = (token: string | undefined, more: Readonly<Record<string, string>> = {}, attempt?: number) =>
    cloud.act(
      'RunInstances',
      {
        ImageId: 'ami-0123456789abcdef0',
        MinCount: '1',
        MaxCount: '1',
        ...(token !== undefined && { ClientToken: token }),
        ...more,
      },
      { headers: attempt === undefined ? {} : { 'amz-sdk-request': `attempt=${attempt}; max=3` } },
    );
  const inZoneA = { 'Placement.AvailabilityZone': 'lab-1a' };
  const cellOf = (reply: Reply): FakeCell => {
    const [id] = textsOf(reply, 'instanceId');
    assert.ok(id !== undefined, reply.body);
    const cell = cloud.cells[cellNumberOf(id) - 1];
    assert.ok(cell !== undefined);
    return cell;
  };
  /** How many instances all cells have for a token. */
  const made = (token: string) =>
    cloud.cells.flatMap(({ instances }) => instances).filter(({ ClientToken }) => ClientToken === token)
      .length;

  it('goes to one cell by the client token, over and over', async () => {
    const replies = await Promise.all([1, 2, 3, 4].map(() => run('token-a')));
    assert.equal(new Set(replies.map((reply) => cellOf(reply))).size, 1);
    assert.equal(made('token-a'), 1);
  });

  it('spreads tokens over the cells, and stays in the asked zone', async () => {
    const tokens = Array.from({ length: 24 }, (_, i) => `spread-${i}`);
    const used = new Set((await Promise.all(tokens.map((token) => run(token, inZoneA)))).map(cellOf));
    assert.equal(used.size, 3);
    assert.ok([...used].every(({ zone }) => zone === 'lab-1a'));
    assert.equal(
      codeOf(await run('x', { 'Placement.AvailabilityZone': 'nowhere' })),
      'InvalidParameterValue',
    );
  });

  it('asks each cell for its own zone when the client leaves it open', async () => {
    const home = cellOf(await run('open', { 'Placement.Tenancy': 'default' }));
    const placement: unknown = Reflect.get(Object(home.calls.at(-1)?.input), 'Placement');
    assert.deepEqual(placement, { Tenancy: 'default', AvailabilityZone: home.zone });
  });

  it('finds the zone of a subnet, and asks the region for it once', async () => {
    cloud.region.subnets.set('subnet-0123456789abcdef0', 'lab-1b');
    for (const token of ['s1', 's2', 's3'])
      assert.equal(cellOf(await run(token, { SubnetId: 'subnet-0123456789abcdef0' })).zone, 'lab-1b');
    assert.equal(cloud.region.actions.filter((action) => action === 'DescribeSubnets').length, 1);
    const unknown = await run('s4', {
      'NetworkInterface.1.SubnetId': 'subnet-1',
      'NetworkInterface.1.DeviceIndex': '0',
    });
    assert.equal(codeOf(unknown), 'InvalidSubnetID.NotFound');
  });

  it('finds the zone in a launch template, and sends its cell what the client sent', async () => {
    const data: Record<string, object> = {
      subnet: { NetworkInterfaces: [{ DeviceIndex: 0, SubnetId: 'subnet-0123456789abcdef0' }] },
      zone: { Placement: { AvailabilityZone: 'lab-1b' } },
      open: { InstanceType: 't3.nano' },
    };
    cloud.region.override = ({ action, input }) => {
      if (action !== 'DescribeLaunchTemplateVersions') return undefined;
      const { LaunchTemplateName = '' } = input as { LaunchTemplateName?: string };
      return { LaunchTemplateVersions: [{ LaunchTemplateData: data[LaunchTemplateName] }] };
    };
    cloud.region.subnets.set('subnet-0123456789abcdef0', 'lab-1b');
    const from = (name: string, token: string, more = {}) =>
      run(token, { 'LaunchTemplate.LaunchTemplateName': name, ...more });
    for (const name of ['subnet', 'zone'])
      for (const at of [1, 2, 3]) assert.equal(cellOf(await from(name, `${name}-${at}`)).zone, 'lab-1b');
    // What the request says comes before what the template says.
    assert.equal(cellOf(await from('zone', 'over', inZoneA)).zone, 'lab-1a');
    const reply = await from('open', 'open-1');
    const sent = cellOf(reply).calls.findLast(({ action }) => action === 'RunInstances')?.input as Record<
      string,
      unknown
    >;
    assert.deepEqual(sent.LaunchTemplate, { LaunchTemplateName: 'open' });
    assert.equal(sent.Placement, undefined);
  });

  it('gives a request without a token one of its own', async () => {
    const reply = await run(undefined);
    assert.equal(textsOf(reply, 'clientToken')[0], reply.headers['x-amzn-requestid']);
    // The content decides, not the made-up token: the same request goes to the same cell.
    for (let i = 0; i < 5; i += 1) assert.equal(cellOf(await run(undefined)), cellOf(reply));
  });

  it('tries another cell when one is full, and no more than k others', async () => {
    const home = cellOf(await run('probe', inZoneA));
    home.mode = 'full';
    let reply = await run('full-1', inZoneA);
    for (let i = 0; home.actions.filter((a) => a === 'RunInstances').length < 2 && i < 40; i += 1)
      reply = await run(`full-${i}`, inZoneA);
    assert.equal(reply.status, 200, reply.body);
    for (const cell of cloud.cells) cell.mode = 'full';
    const before = cloud.cells.flatMap(({ calls }) => calls).length;
    const refused = await run('full-all');
    assert.equal(refused.status, 500);
    assert.equal(codeOf(refused), 'InsufficientInstanceCapacity');
    assert.equal(cloud.cells.flatMap(({ calls }) => calls).length - before, 3);
  });

  it('follows a cluster group to the cell that it is in, and to no other where that one is full', async () => {
    const [home] = cloud.cells;
    assert.ok(home !== undefined);
    for (const cell of cloud.cells) cell.groups = new Map([['near', home.cellId]]);
    const near = { ...inZoneA, 'Placement.GroupName': 'near' };
    const replies = await Promise.all(Array.from({ length: 12 }, (_, n) => run(`near-${n}`, near)));
    for (const reply of replies) assert.equal(cellOf(reply), home);
    assert.ok(
      cloud.cells.some((cell) => cell !== home && cell.actions.includes('RunInstances')),
      'tokens lead elsewhere first',
    );
    assert.equal(home.instances.length, 12, 'each once');
    // Again with the same token: the same instance, wherever the request begins.
    assert.deepEqual(
      textsOf(await run('near-3', near), 'instanceId'),
      textsOf(replies[3] ?? assert.fail(), 'instanceId'),
    );
    home.mode = 'full';
    assert.equal(codeOf(await run('near-full', near)), 'InsufficientInstanceCapacity');
    assert.equal(cellOf(await run('free', { ...inZoneA, 'Placement.GroupName': 'free' })) === home, false);
  });

  it('keeps an account to its share of the cells, and to others only when none of them lives (S3.9)', async () => {
    cloud.region.cellsPerAccount = 2;
    await waitForRefresh(cloud);
    const go = async (name: string) =>
      (await Promise.all(Array.from({ length: 12 }, (_, i) => run(`${name}-${i}`, inZoneA)))).map(cellOf);
    const own = new Set(await go('share'));
    assert.equal(own.size, 2);
    for (const cell of own) cell.mode = 'full';
    assert.equal(codeOf(await run('no-room', inZoneA)), 'InsufficientInstanceCapacity');
    for (const cell of own) await cell.kill();
    await cloud.until(({ cells }) => cells.filter(({ live }) => !live).length === 2);
    const [other] = new Set(await go('elsewhere'));
    assert.ok(other !== undefined && !own.has(other) && other.zone === 'lab-1a');
  });

  it('sends nothing to cells whose hosts are too small, and says so where all are (S3.1)', async () => {
    const [first] = cloud.cells;
    assert.ok(first !== undefined);
    cloud.region.cells = () =>
      cloud.cells.map((cell) => ({ ...cell.record, ...(cell === first ? {} : { takes: { vcpusMax: 1 } }) }));
    await waitForRefresh(cloud);
    for (const token of ['big-1', 'big-2', 'big-3'])
      assert.equal(cellOf(await run(token, { InstanceType: 'm5.large' })), first);
    assert.equal((await run('small', { InstanceType: 'custom.1000m.512' })).status, 200);
    cloud.region.cells = () => cloud.cells.map(({ record }) => ({ ...record, takes: { vcpusMax: 1 } }));
    await waitForRefresh(cloud);
    assert.equal(codeOf(await run('too-big', { InstanceType: 'm5.large' })), 'Unsupported');
  });

  it('skips a dead cell within seconds, and the others feel nothing', async () => {
    const home = cellOf(await run('probe', inZoneA));
    await home.kill();
    await cloud.until(({ cells }) => cells.some(({ cellId, live }) => cellId === home.cellId && !live));
    const replies = await Promise.all(Array.from({ length: 12 }, (_, i) => run(`after-${i}`, inZoneA)));
    assert.ok(replies.every(({ status }) => status === 200));
    assert.ok(replies.every((reply) => cellOf(reply) !== home));
  });

  it('launches on the only cell that is left', async () => {
    await Promise.all(cloud.cells.slice(1).map((cell) => cell.kill()));
    await cloud.until(({ cells }) => cells.filter(({ live }) => live).length === 1);
    const only = cloud.cells[0];
    for (let i = 0; i < 5; i += 1) assert.equal(cellOf(await run(`only-${i}`)), only);
  });

  it('asks the second processor of a cell when the first is gone', async () => {
    for (const cell of cloud.cells) await cell.kill(0);
    for (let i = 0; i < 8; i += 1) assert.equal((await run(`second-${i}`)).status, 200);
  });

  it('does not launch a token a second time elsewhere while the cell that has it is down', async () => {
    const home = cellOf(await run('kept', inZoneA));
    await home.kill();
    await cloud.until(({ cells }) => cells.some(({ cellId, live }) => cellId === home.cellId && !live));
    assert.equal(codeOf(await run('kept', inZoneA)), 'Unavailable');
    assert.equal(made('kept'), 1);
  });

  it('finds a repeated launch where it was carried out, though its first cell has room by now', async () => {
    const home = cellOf(await run('probe-2', inZoneA));
    home.mode = 'full';
    const tokens = Array.from({ length: 20 }, (_, i) => `moved-${i}`);
    const before = new Map<string, FakeCell>();
    for (const token of tokens) before.set(token, cellOf(await run(token, inZoneA)));
    home.mode = 'well';
    const refusals = home.actions.filter((action) => action === 'RunInstances').length - 1;
    assert.ok(refusals > 0, 'some of them had another home');
    for (const token of tokens) assert.equal(cellOf(await run(token, inZoneA, 2)), before.get(token));
    assert.ok(tokens.every((token) => made(token) === 1));
  });

  it('repeats a refusal with its own code, even while a cell is dead', async () => {
    for (const cell of cloud.cells) cell.mode = 'full';
    await cloud.cells[0]?.kill();
    await cloud.until(({ cells }) => cells.some(({ live }) => !live));
    assert.equal(codeOf(await run('none')), 'InsufficientInstanceCapacity');
    assert.equal(codeOf(await run('none', {}, 2)), 'InsufficientInstanceCapacity');
  });

  it('sends nothing new to a cell that is draining', async () => {
    const draining = cloud.cells[0];
    assert.ok(draining !== undefined);
    draining.state = 'draining';
    const seen = cloud.log.length;
    await cloud.act('DescribeInstances');
    await waitForRefresh(cloud);
    const replies = await Promise.all(Array.from({ length: 12 }, (_, i) => run(`drain-${i}`)));
    assert.ok(replies.every((reply) => cellOf(reply) !== draining));
    assert.ok(cloud.log.length > seen);
  });

  describe('to cells that do not answer', () => {
    beforeEach(async () => {
      await cloud.close();
      await start(impatient);
    });

    it('never sends a request elsewhere that may have been accepted (I4)', async () => {
      for (const cell of cloud.cells) cell.mode = 'mute';
      const reply = await run('unsure', inZoneA);
      assert.equal(codeOf(reply), 'Unavailable');
      assert.equal(reply.status, 503);
      assert.equal(made('unsure'), 1);
      assert.equal(cloud.cells.filter(({ actions }) => actions.includes('RunInstances')).length, 1);
    });

    it('is not offered to processor after processor when it has cost three (a request that kills)', async () => {
      const big = { ...inZoneA, UserData: Buffer.alloc(3_000, 'x').toString('base64') };
      const had = () => cloud.cells.filter(({ actions }) => actions.includes('RunInstances'));
      for (let at = 0; had().length < 3; at += 1) {
        assert.ok(at < 50, 'tokens find their way to three cells');
        for (const cell of cloud.cells) cell.mode = 'mute';
        const before = had().length;
        const reply = run(`deadly-${at}`, big);
        await until('the request is in flight', () => had().length > before);
        for (const cell of had()) await cell.kill();
        assert.equal(codeOf(await reply), 'Unavailable');
      }
      for (const cell of cloud.cells) {
        cell.mode = 'well';
        await cell.revive();
      }
      await cloud.until(({ cells }) => cells.every(({ live }) => live));
      assert.match((await run('deadly', big)).body, /was lost several times/);
      assert.equal((await run('fresh', inZoneA)).status, 200);
    });

    it('carries a repeated launch out once, even if its cell died after accepting it', async () => {
      for (const cell of cloud.cells) cell.mode = 'mute';
      await run('again', inZoneA);
      const home = cloud.cells.find(({ instances }) => instances.length > 0);
      assert.ok(home !== undefined);
      for (const cell of cloud.cells) cell.mode = 'well';
      await home.kill();
      await cloud.until(({ cells }) => cells.some(({ cellId, live }) => cellId === home.cellId && !live));
      assert.equal(codeOf(await run('again', inZoneA, 2)), 'Unavailable');
      assert.equal((await run('fresh', inZoneA)).status, 200);
      await home.revive();
      await cloud.until(({ cells }) => cells.every(({ live }) => live));
      const reply = await run('again', inZoneA, 3);
      assert.equal(cellOf(reply), home);
      assert.equal(made('again'), 1);
    });

    it('sends nothing new to a cell that says that it is not ready, or says nothing (frozen)', async () => {
      const home = cellOf(await run('probe-3', inZoneA));
      for (const ready of [false, 'mute'] as const) {
        home.ready = ready;
        await cloud.until(({ cells }) => cells.some(({ cellId, live }) => cellId === home.cellId && !live));
        for (let i = 0; i < 8; i += 1)
          assert.notEqual(cellOf(await run(`unready-${ready}-${i}`, inZoneA)), home);
        home.ready = true;
        await cloud.until(({ cells }) => cells.every(({ live }) => live));
      }
    });
  });
});

/** An id of a cell that does not exist makes the router fetch the list of cells. */
const waitForRefresh = async (cloud: Cloud) => {
  await cloud.act('GetConsoleOutput', { InstanceId: 'i-fff00000000000000' });
};
