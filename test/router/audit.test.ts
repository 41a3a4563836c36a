/** The audit log: what is in a record, what is not, and that it holds up nothing. */
import assert from 'node:assert/strict';
import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it, type TestContext } from 'node:test';
import aws4 from 'aws4';
import fc from 'fast-check';
import { pino } from 'pino';
import { AuditLog } from '#router/audit/log.ts';
import { type AuditedCall, auditRecord, removed } from '#router/audit/record.ts';
import { type Cloud, startCloud } from './cloud.ts';
import { accountId, keys } from './fakeRegion.ts';

const quiet = pino({ level: 'silent' });

const called = (more: Partial<AuditedCall> = {}): AuditedCall => ({
  requestId: 'r-1',
  atMs: Date.UTC(2026, 0, 2, 3, 4, 5, 678),
  region: 'lab-1',
  service: 'ec2',
  action: 'RunInstances',
  readOnly: false,
  caller: { accountId, arn: `arn:aws:iam::${accountId}:root`, userId: accountId, accessKeyId: 'AKIAX' },
  sourceAddress: '192.0.2.7',
  userAgent: 'aws-cli/2',
  input: { ImageId: 'ami-1', UserData: 'aGVsbG8=', NetworkInterfaces: [{ SubnetId: 'subnet-1' }] },
  output: { Instances: [{ InstanceId: 'i-1' }] },
  ...more,
});

const directory = async (t: TestContext): Promise<string> => {
  const made = await mkdtemp(join(tmpdir(), 'pando-audit-'));
  t.after(() => rm(made, { recursive: true, force: true }));
  return made;
};
const linesOf = async (path: string): Promise<Record<string, unknown>[]> =>
  (await readFile(path, 'utf8'))
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => JSON.parse(line));

describe('a record', () => {
  it('has CloudTrail’s members', () => {
    const { eventID, ...record } = auditRecord(called());
    assert.match(String(eventID), /^[0-9a-f-]{36}$/);
    assert.deepEqual(record, {
      eventVersion: '1.11',
      userIdentity: {
        type: 'Root',
        principalId: accountId,
        arn: `arn:aws:iam::${accountId}:root`,
        accountId,
        accessKeyId: 'AKIAX',
      },
      eventTime: '2026-01-02T03:04:05Z',
      eventSource: 'ec2.amazonaws.com',
      eventName: 'RunInstances',
      awsRegion: 'lab-1',
      sourceIPAddress: '192.0.2.7',
      userAgent: 'aws-cli/2',
      requestParameters: {
        imageId: 'ami-1',
        userData: removed,
        networkInterfaces: [{ subnetId: 'subnet-1' }],
      },
      responseElements: { instances: [{ instanceId: 'i-1' }] },
      requestID: 'r-1',
      readOnly: false,
      eventType: 'AwsApiCall',
      managementEvent: true,
      recipientAccountId: accountId,
      eventCategory: 'Management',
    });
  });

  it('has no answer of a call that reads, and the error of one that failed', () => {
    assert.equal(auditRecord(called({ readOnly: true })).responseElements, null);
    const error = { code: 'UnauthorizedOperation', message: 'no' };
    const record = auditRecord(called({ output: undefined, error }));
    assert.equal(record.responseElements, null);
    assert.equal(record.errorCode, 'UnauthorizedOperation');
  });

  it('has no user data that is the value of an attribute by name, and has the values of others', () => {
    const parametersOf = (input: object) => auditRecord(called({ input })).requestParameters;
    assert.deepEqual(parametersOf({ InstanceId: 'i-1', Attribute: 'userData', Value: 'c2VjcmV0' }), {
      ...{ instanceId: 'i-1', attribute: 'userData', value: removed },
    });
    assert.deepEqual(parametersOf({ Attribute: 'instanceType', Value: 'p1.nano' }), {
      ...{ attribute: 'instanceType', value: 'p1.nano' },
    });
  });

  it('property: says no secret, at whatever depth, and is of bounded size', () => {
    const secret = 'VERY-SECRET-TEXT';
    const name = fc.constantFrom(
      ...[
        'UserData',
        'userData',
        'KeyMaterial',
        'PublicKeyMaterial',
        'SecretAccessKey',
        'AdminPassword',
        'PrivateKey',
      ],
    );
    const leaf = fc
      .record({ name, value: fc.constantFrom<unknown>(secret, { Value: secret }, [secret]) })
      .map((each) => ({ [each.name]: each.value }));
    const { tree } = fc.letrec((tie) => ({
      tree: fc.oneof(
        { maxDepth: 5 },
        leaf,
        fc.string({ maxLength: 3_000 }),
        fc.array(tie('tree')),
        fc.dictionary(fc.string(), tie('tree')),
      ),
    }));
    fc.assert(
      fc.property(tree, tree, (input, output) => {
        const text = JSON.stringify(auditRecord(called({ input, output })));
        assert.ok(!text.includes(secret), text);
        assert.ok(text.length < 100 * 1024);
      }),
    );
  });
});

describe('the file', () => {
  it('is rotated, and of bounded size', async (t) => {
    const path = join(await directory(t), 'log', 'audit.jsonl');
    const log = new AuditLog({ path, fileBytesMax: 4_000, filesMax: 2, waitingMax: 1_000 }, quiet);
    for (let n = 0; n < 40; n += 1) {
      log.add(called({ requestId: `r-${n}` }));
      await log.drain();
    }
    assert.deepEqual((await readdir(join(path, '..'))).sort(), [
      'audit.jsonl',
      'audit.jsonl.1',
      'audit.jsonl.2',
    ]);
    for (const file of [path, `${path}.1`, `${path}.2`]) assert.ok((await readFile(file)).length <= 4_000);
    assert.equal((await linesOf(path)).at(-1)?.requestID, 'r-39');
  });

  it('goes on where an earlier process ended', async (t) => {
    const path = join(await directory(t), 'audit.jsonl');
    for (const requestId of ['a', 'b']) {
      const log = new AuditLog({ path, fileBytesMax: 100_000, filesMax: 1, waitingMax: 10 }, quiet);
      log.add(called({ requestId }));
      await log.drain();
    }
    assert.deepEqual(
      (await linesOf(path)).map((line) => line.requestID),
      ['a', 'b'],
    );
  });

  it('loses what finds the queue full or the disk away, says how many, and throws at nobody', async (t) => {
    const root = await directory(t);
    await writeFile(join(root, 'blocked'), '');
    const blocked = join(root, 'blocked', 'audit.jsonl');
    const away = new AuditLog({ path: blocked, fileBytesMax: 1_000, filesMax: 1, waitingMax: 10 }, quiet);
    away.add(called());
    await away.drain();

    const path = join(root, 'audit.jsonl');
    const log = new AuditLog({ path, fileBytesMax: 100_000, filesMax: 1, waitingMax: 3 }, quiet);
    for (let n = 0; n < 10; n += 1) log.add(called({ requestId: `r-${n}` }));
    await log.drain();
    log.add(called({ requestId: 'later' }));
    await log.drain();
    const lines = await linesOf(path);
    assert.deepEqual(
      lines.map((line) => line.requestID),
      ['r-0', 'r-1', 'r-2', 'later'],
    );
    assert.deepEqual(lines[0]?.additionalEventData, { recordsLostBefore: 7 });
  });
});

describe('the queue of a disk that is behind', () => {
  it('holds records of bounded size, and no more than so many characters of them', async (t) => {
    const path = join(await directory(t), 'audit.jsonl');
    const log = new AuditLog({ path, fileBytesMax: 1 << 30, filesMax: 1, waitingMax: 10_000 }, quiet);
    const text = 'x'.repeat(1_000);
    const input = { Tags: Array.from({ length: 28 }, () => ({ Value: text })) };
    for (let n = 0; n < 3_000; n += 1) log.add(called({ input }));
    await log.drain();
    log.add(called());
    await log.drain();
    const lines = await linesOf(path);
    const lost = lines.map(({ additionalEventData: gap }) => Number(Object(gap).recordsLostBefore ?? 0));
    assert.ok(lines.length > 1_000 && lines.length < 1_500, `${lines.length} records`);
    assert.equal(lines.length - 1 + lost.reduce((sum, n) => sum + n, 0), 3_000);
  });

  it('forgets none that it has lost, and begins a line of its own, where a write failed', async (t) => {
    const root = await directory(t);
    const path = join(root, 'log', 'audit.jsonl');
    await writeFile(join(root, 'log'), '');
    const log = new AuditLog({ path, fileBytesMax: 100_000, filesMax: 1, waitingMax: 3 }, quiet);
    for (let n = 0; n < 10; n += 1) log.add(called());
    await log.drain();
    await rm(join(root, 'log'));
    await mkdir(join(root, 'log'));
    await writeFile(path, '{"half":');
    log.add(called({ requestId: 'later' }));
    await log.drain();
    const [half, line] = (await readFile(path, 'utf8')).split('\n');
    assert.equal(half, '{"half":');
    const { requestID, additionalEventData } = JSON.parse(line ?? '');
    assert.deepEqual([requestID, additionalEventData], ['later', { recordsLostBefore: 10 }]);
  });
});

describe('a router with an audit log', () => {
  let cloud: Cloud;
  let path: string;
  let root: string;
  before(async () => {
    root = await mkdtemp(join(tmpdir(), 'pando-audit-'));
    path = join(root, 'audit.jsonl');
    cloud = await startCloud({ zones: ['lab-1a'], audit: path });
  });
  after(async () => {
    await cloud.close();
    await rm(root, { recursive: true, force: true });
  });

  it('records calls of those who signed, failed ones too, and nobody else’s', async () => {
    await cloud.act('DescribeRegions', {}, { headers: { 'user-agent': 'tester/1' } });
    await cloud.act('NoSuchAction');
    await cloud.act('DescribeRegions', {}, { key: { ...keys.first, secretAccessKey: 'wrong' } });
    const target = { method: 'GET', host: `127.0.0.1:${cloud.router.port}`, path: '/capacity/v1/nowhere' };
    const asked = aws4.sign(
      { ...target, body: '', headers: {}, service: 'ec2', region: 'lab-1' },
      keys.first,
    );
    await cloud.raw({ ...target, headers: asked.headers as Record<string, string>, body: '' });
    await cloud.close();
    const lines = await linesOf(path);
    assert.deepEqual(
      lines.map(({ eventName, errorCode, readOnly, sourceIPAddress }) => [
        eventName,
        errorCode,
        readOnly,
        sourceIPAddress,
      ]),
      [
        ['DescribeRegions', undefined, true, '127.0.0.1'],
        ['NoSuchAction', 'InvalidAction', false, '127.0.0.1'],
        ['GET /capacity/v1/nowhere', 'InvalidAction', true, '127.0.0.1'],
      ],
    );
    assert.equal(lines[0]?.userAgent, 'tester/1');
    assert.equal(lines[0]?.recipientAccountId, accountId);
  });
});
