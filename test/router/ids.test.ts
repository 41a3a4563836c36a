import assert from 'node:assert/strict';
import { afterEach, beforeEach, describe, it } from 'node:test';
import { newCellId, newId } from '#contracts/ids.ts';
import { type Cloud, codeOf, startCloud, textsOf } from './cloud.ts';
import { accountId, keys } from './fakeRegion.ts';

describe('calls with ids', () => {
  let cloud: Cloud;
  beforeEach(async () => {
    cloud = await startCloud();
  });
  afterEach(() => cloud.close());

  const cell = (i: number) => {
    const found = cloud.cells[i];
    assert.ok(found !== undefined);
    return found;
  };
  const list = (ids: readonly string[], name = 'InstanceId') =>
    Object.fromEntries(ids.map((id, i) => [`${name}.${i + 1}`, id]));

  it('go to the cell that the id names, with no lookup (S3.4)', async () => {
    const [id = ''] = cell(1).seed(accountId, 1);
    const reply = await cloud.act('GetConsoleOutput', { InstanceId: id });
    assert.equal(reply.status, 200, reply.body);
    assert.deepEqual(cell(1).actions, ['GetConsoleOutput']);
    assert.equal(cell(0).calls.length + cell(2).calls.length + cloud.region.calls.length, 0);
  });

  it('are split over cells and joined', async () => {
    const ids = [0, 1, 2].flatMap((i) => cell(i).seed(accountId, 2));
    const described = await cloud.act('DescribeInstances', list(ids));
    assert.deepEqual(textsOf(described, 'instanceId').toSorted(), ids.toSorted());
    const stopped = await cloud.act('StopInstances', list(ids));
    assert.deepEqual(textsOf(stopped, 'instanceId').toSorted(), ids.toSorted());
    assert.ok(cloud.cells.flatMap(({ instances }) => instances).every(({ State }) => State.Code === 64));
  });

  it('change nothing when one id of another cell does not exist', async () => {
    const [id = ''] = cell(0).seed(accountId, 1);
    const [foreign = ''] = cell(1).seed(keys.second.accountId, 1);
    for (const other of [foreign, 'i-002ffffffffffffff', 'i-abc00000000000000', 'i-nonsense', 'vol-1']) {
      const reply = await cloud.act('TerminateInstances', list([id, other]));
      assert.match(codeOf(reply) ?? '', /^InvalidInstanceID\.(NotFound|Malformed)$/, other);
    }
    assert.ok(cloud.cells.every(({ actions }) => !actions.includes('TerminateInstances')));
  });

  it('answer Unavailable for ids of a dead cell, and change nothing elsewhere', async () => {
    const [id = ''] = cell(0).seed(accountId, 1);
    const [dead = ''] = cell(1).seed(accountId, 1);
    await cell(1).kill();
    await cloud.until(({ cells }) => cells.some(({ live }) => !live));
    const reply = await cloud.act('StopInstances', list([id, dead]));
    assert.equal(codeOf(reply), 'Unavailable');
    assert.equal(reply.status, 503);
    assert.equal(codeOf(await cloud.act('DescribeInstances', list([dead]))), 'Unavailable');
    assert.ok(!cell(0).actions.includes('StopInstances'));
    assert.equal((await cloud.act('StopInstances', list([id]))).status, 200);
  });

  it('are not sent twice if they change something and the answer is missing', async () => {
    await cloud.close();
    cloud = await startCloud({ limits: { callTimeoutMs: 1_000 } });
    const [id = ''] = cell(0).seed(accountId, 1);
    cell(0).mode = 'mute';
    assert.equal(codeOf(await cloud.act('RebootInstances', list([id]))), 'Unavailable');
    assert.equal(cell(0).calls.length, 1);
    assert.equal(codeOf(await cloud.act('DescribeInstances', list([id]))), 'Unavailable');
    assert.equal(cell(0).calls.length, 3, 'a safe call is asked of both processors');
  });

  it('find a cell that is newer than the list', async () => {
    const all = cloud.region.cells;
    cloud.region.cells = () => all().slice(0, 2);
    await cloud.until(({ cells }) => cells.length === 2);
    const [id = ''] = cell(2).seed(accountId, 1);
    cloud.region.cells = all;
    await cloud.until(({ cells }) => cells.length === 3 && cells.every(({ live }) => live));
    assert.equal((await cloud.act('DescribeInstances', list([id]))).status, 200);
  });

  it('split tags by the owner of each resource', async () => {
    const [id = ''] = cell(0).seed(accountId, 1);
    const vpc = newId('vpc');
    const parameters = { ...list([id, vpc], 'ResourceId'), 'Tag.1.Key': 'k', 'Tag.1.Value': 'v' };
    const reply = await cloud.act('CreateTags', parameters);
    assert.equal(reply.status, 200, reply.body);
    assert.deepEqual(cell(0).actions, ['DescribeInstances', 'CreateTags']);
    assert.deepEqual(cell(0).calls.at(-1)?.input, { Resources: [id], Tags: [{ Key: 'k', Value: 'v' }] });
    assert.deepEqual(cloud.region.calls.at(-1)?.input, {
      Resources: [vpc],
      Tags: [{ Key: 'k', Value: 'v' }],
    });
    const volume = newCellId('volume', 1);
    const together = { ...list([id, volume], 'ResourceId'), 'Tag.1.Key': 'k' };
    assert.equal((await cloud.act('DeleteTags', together)).status, 200);
    assert.deepEqual(cell(0).calls.at(-1)?.input, { Resources: [id, volume], Tags: [{ Key: 'k' }] });
    assert.equal(cell(0).actions.at(-2), 'CreateTags', 'one owner needs no question before');
    const bad = { ...list(['i-001ffffffffffffff', vpc], 'ResourceId'), 'Tag.1.Key': 'k' };
    const before = cloud.region.calls.length;
    assert.equal(codeOf(await cloud.act('CreateTags', bad)), 'InvalidInstanceID.NotFound');
    assert.equal(cloud.region.calls.length, before);
  });
});
