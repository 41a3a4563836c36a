import assert from 'node:assert/strict';
import { after, afterEach, before, beforeEach, describe, it } from 'node:test';
import { type Cloud, codeOf, startCloud, textsOf } from './cloud.ts';
import { accountId, keys } from './fakeRegion.ts';

describe('gathering', () => {
  let cloud: Cloud;
  beforeEach(async () => {
    cloud = await startCloud();
  });
  afterEach(() => cloud.close());

  it('joins the instances of all cells and shows no account those of another', async () => {
    const ids = cloud.cells.flatMap((cell) => cell.seed(accountId, 2));
    const others = cloud.cells.flatMap((cell) => cell.seed(keys.second.accountId, 1));
    const reply = await cloud.act('DescribeInstances');
    assert.deepEqual(textsOf(reply, 'instanceId').toSorted(), ids.toSorted());
    const second = await cloud.act('DescribeInstances', {}, { key: keys.second });
    assert.deepEqual(textsOf(second, 'instanceId').toSorted(), others.toSorted());
    assert.equal(reply.headers['x-pando-unreachable-cells'], undefined);
  });

  it('joins the tags of the region and of all cells', async () => {
    const reply = await cloud.act('DescribeTags');
    assert.deepEqual(textsOf(reply, 'value'), ['r', 'cell-1', 'cell-2', 'cell-3']);
  });

  it('names cells that do not answer, in a header and in the document', async () => {
    const ids = cloud.cells.slice(0, 1).flatMap((cell) => cell.seed(accountId, 2));
    await cloud.cells[1]?.kill();
    const broken = cloud.cells[2];
    assert.ok(broken !== undefined);
    broken.mode = 'broken';
    await cloud.until(({ cells }) => cells.some(({ live }) => !live));
    const reply = await cloud.act('DescribeInstances');
    assert.equal(reply.status, 200);
    assert.deepEqual(textsOf(reply, 'instanceId').toSorted(), ids.toSorted());
    assert.equal(reply.headers['x-pando-unreachable-cells'], 'cell-2,cell-3');
    assert.match(
      reply.body,
      /<unreachableCellSet><item>cell-2<\/item><item>cell-3<\/item><\/unreachableCellSet>/,
    );
    await cloud.cells[0]?.kill();
    await cloud.until(({ cells }) => cells.filter(({ live }) => !live).length === 2);
    assert.equal(codeOf(await cloud.act('DescribeInstances')), 'Unavailable');
  });

  it('throws what a cell says of the client’s own mistake', async () => {
    const reply = await cloud.act('DescribeInstances', { MaxResults: '4' });
    assert.equal(codeOf(reply), 'InvalidParameterValue');
  });
});

describe('gathering by the index of accounts’ cells (S3.10)', () => {
  let cloud: Cloud;
  beforeEach(async () => {
    cloud = await startCloud();
    cloud.region.accountCells = (account) => (account === accountId ? ['cell-1', 'cell-3'] : []);
  });
  afterEach(() => cloud.close());

  const asked = (): readonly number[] =>
    cloud.cells.map(({ actions }) => actions.filter((action) => action === 'DescribeInstances').length);

  it('asks the cells of the account alone: a dead one of others is not even named', async () => {
    const ids = [0, 2].flatMap((at) => cloud.cells[at]?.seed(accountId, 2) ?? []);
    await cloud.cells[1]?.kill();
    const reply = await cloud.act('DescribeInstances');
    assert.deepEqual(textsOf(reply, 'instanceId').toSorted(), ids.toSorted());
    assert.equal(reply.headers['x-pando-unreachable-cells'], undefined);
    assert.deepEqual(asked(), [1, 0, 1]);
    await cloud.cells[2]?.kill();
    const less = await cloud.act('DescribeInstances');
    assert.equal(less.headers['x-pando-unreachable-cells'], 'cell-3');
    assert.equal(textsOf(less, 'instanceId').length, 2);
  });

  it('has one cell judge the request of an account without instances, whichever lives', async () => {
    const others = { key: keys.second };
    assert.equal((await cloud.act('DescribeInstances', {}, others)).status, 200);
    const bad = await cloud.act('DescribeInstances', { MaxResults: '4' }, others);
    assert.equal(codeOf(bad), 'InvalidParameterValue');
    assert.equal(
      asked().reduce((sum, count) => sum + count),
      1,
      'the router itself judges pages',
    );
    await cloud.cells[0]?.kill();
    await cloud.cells[1]?.kill();
    const reply = await cloud.act('DescribeInstances', {}, others);
    assert.equal(reply.status, 200);
    assert.equal(reply.headers['x-pando-unreachable-cells'], undefined);
  });

  it('names a cell that the index has and no list: nothing is hidden', async () => {
    cloud.region.accountCells = () => ['cell-1', 'cell-lost'];
    cloud.cells[0]?.seed(accountId, 1);
    const reply = await cloud.act('DescribeInstances');
    assert.equal(reply.headers['x-pando-unreachable-cells'], 'cell-lost');
    assert.equal(textsOf(reply, 'instanceId').length, 1);
  });

  it('asks all cells while the region cannot be asked', async () => {
    const ids = cloud.cells.flatMap((cell) => cell.seed(accountId, 1));
    // So that the key is known.
    assert.equal((await cloud.act('DescribeInstances')).status, 200);
    await cloud.region.kill();
    const reply = await cloud.act('DescribeInstances');
    assert.deepEqual(textsOf(reply, 'instanceId').toSorted(), ids.toSorted());
  });
});

describe('pages', () => {
  let cloud: Cloud;
  let ids: readonly string[];
  before(async () => {
    cloud = await startCloud();
    ids = [7, 0, 13].flatMap((count, i) => cloud.cells[i]?.seed(accountId, count) ?? []).toSorted();
  });
  after(() => cloud.close());

  const walk = async (size: string, visit: () => void = () => undefined): Promise<string[][]> => {
    const pages: string[][] = [];
    let NextToken: string | undefined;
    do {
      const reply = await cloud.act('DescribeInstances', {
        MaxResults: size,
        ...(NextToken && { NextToken }),
      });
      assert.equal(reply.status, 200, reply.body);
      pages.push([...textsOf(reply, 'instanceId')]);
      NextToken = textsOf(reply, 'nextToken')[0];
      visit();
      assert.ok(pages.length < 20);
    } while (NextToken !== undefined);
    return pages;
  };

  it('show every instance once, in the same order, whatever their size', async () => {
    for (const size of ['5', '6', '7', '13', '20', '1000']) {
      const pages = await walk(size);
      assert.deepEqual(pages.flat(), ids);
      assert.ok(pages.every((page) => page.length <= Number(size)));
    }
  });

  it('neither repeat nor hide others when an instance comes between two pages', async () => {
    let added: readonly string[] = [];
    const pages = await walk('5', () => {
      if (added.length === 0) added = cloud.cells[0]?.seed(accountId, 1) ?? [];
    });
    const seen = pages.flat();
    assert.equal(new Set(seen).size, seen.length);
    assert.ok(ids.every((id) => seen.includes(id)));
  });

  it('have tokens that are bound to the query and to the account', async () => {
    const reply = await cloud.act('DescribeInstances', { MaxResults: '5' });
    const [NextToken = ''] = textsOf(reply, 'nextToken');
    const filter = { 'Filter.1.Name': 'instance-state-name', 'Filter.1.Value.1': 'running' };
    const misuses = [
      cloud.act('DescribeInstances', { MaxResults: '5', NextToken, ...filter }),
      cloud.act('DescribeInstances', { MaxResults: '5', NextToken }, { key: keys.second }),
      cloud.act('DescribeTags', { MaxResults: '5', NextToken }),
      cloud.act('DescribeInstances', { NextToken: `${NextToken}x` }),
      cloud.act('DescribeInstances', { NextToken: 'x' }),
    ];
    for (const misuse of misuses) assert.equal(codeOf(await misuse), 'InvalidParameterValue');
    assert.equal((await cloud.act('DescribeInstances', { NextToken })).status, 200);
    const both = await cloud.act('DescribeInstances', { MaxResults: '5', 'InstanceId.1': ids[0] ?? '' });
    assert.equal(codeOf(both), 'InvalidParameterCombination');
  });

  it('go on behind a cell that has died, and name it', async () => {
    const first = await cloud.act('DescribeInstances', { MaxResults: '5' });
    await cloud.cells[0]?.kill();
    await cloud.until(({ cells }) => cells.some(({ live }) => !live));
    const [NextToken = ''] = textsOf(first, 'nextToken');
    const next = await cloud.act('DescribeInstances', { MaxResults: '20', NextToken });
    assert.equal(next.headers['x-pando-unreachable-cells'], 'cell-1');
    assert.equal(textsOf(next, 'instanceId').length, 13);
  });
});
