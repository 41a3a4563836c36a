/** One launch, followed by its request id through router, region, cell and host. */
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { type RealClient, type RealCloud, startRealCloud, until } from './realCloud.ts';

interface Line {
  readonly name: string;
  readonly msg?: string;
  readonly requestId?: string;
  readonly traceId?: string;
  readonly method?: string;
}

const lines: Line[] = [];
let cloud: RealCloud;
let alice: RealClient;

before(async () => {
  cloud = await startRealCloud({
    hosts: 1,
    logTo: { write: (line) => void lines.push(JSON.parse(line)) },
  });
  alice = await cloud.account();
});
after(() => cloud?.close());

const launchForm = (imageId: string): string =>
  `Action=RunInstances&Version=2016-11-15&ImageId=${imageId}&InstanceType=p1.nano&MinCount=1&MaxCount=1`;
const of = (requestId: string): Line[] => lines.filter((line) => line.requestId === requestId);
const launched = (requestId: string): boolean => of(requestId).some((line) => line.msg === 'workflow ended');

const launch = async (headers: Readonly<Record<string, string>> = {}): Promise<string> => {
  const tamper = <T extends { headers: object }>(signed: T): T => ({
    ...signed,
    headers: { ...signed.headers, ...headers },
  });
  const { status, body } = await alice.send(launchForm(cloud.imageId), { tamper });
  assert.equal(status, 200, body);
  const requestId = /<requestId>([^<]+)</.exec(body)?.[1] ?? '';
  await until('the launch has ended', () => launched(requestId));
  return requestId;
};

test('every process that takes part in a launch logs its request id, and one trace', async () => {
  const requestId = await launch();
  const found = of(requestId);
  for (const name of ['router', 'region', 'cell', 'h-1'])
    assert.ok(
      found.some((line) => line.name === name),
      `${name} says nothing of ${requestId}: ${JSON.stringify(found)}`,
    );
  assert.ok(
    found.some((line) => line.name === 'h-1' && line.method === 'vm.launch'),
    'the host says that it launched the VM',
  );
  assert.deepEqual([...new Set(found.map((line) => line.traceId))], [requestId.replaceAll('-', '')]);
  const [row] = await cloud.cell.services.db.query<{ trace: { requestId: string } }>(
    `select trace from workflows where trace->>'requestId' = $1`,
    [requestId],
  );
  assert.equal(row?.trace.requestId, requestId, 'its workflow is found by it');
});

test('a client’s traceparent is gone on with, one that is none is replaced', async () => {
  const given = '4bf92f3577b34da6a3ce929d0e0e4736';
  const traced = await launch({ traceparent: `00-${given}-00f067aa0ba902b7-01` });
  assert.deepEqual([...new Set(of(traced).map((line) => line.traceId))], [given]);
  const wild = await launch({ traceparent: `00-${'0'.repeat(32)}-00f067aa0ba902b7-01` });
  assert.deepEqual([...new Set(of(wild).map((line) => line.traceId))], [wild.replaceAll('-', '')]);
});

test('a change of network state is told to hosts under the request that made it', async () => {
  const { SecurityGroups: [group] = [] } = await alice.call('DescribeSecurityGroups', {
    GroupNames: ['default'],
  });
  const { status, body } = await alice.act('AuthorizeSecurityGroupIngress', {
    GroupId: group?.GroupId ?? '',
    IpProtocol: 'tcp',
    FromPort: '22',
    ToPort: '22',
    CidrIp: '10.0.0.0/8',
  });
  assert.equal(status, 200, body);
  const requestId = /<requestId>([^<]+)</.exec(body)?.[1] ?? '';
  await until('the host has it', () =>
    of(requestId).some((line) => line.name === 'h-1' && line.method === 'card.transact'),
  );
  assert.ok(of(requestId).some((line) => line.name === 'cell' && line.method === 'cell.applyParts'));
});

test('beats that are for no request leave no line', () => {
  const beats = ['host.report', 'process.health'];
  assert.deepEqual(
    lines.filter((line) => beats.includes(line.method ?? '')),
    [],
  );
});
