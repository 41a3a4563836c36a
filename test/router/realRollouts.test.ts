/** Rollouts and policies over HTTP and JSON (S8.5), through a router, signed with operators' keys that the region alone checks. */
import assert from 'node:assert/strict';
import { request as httpRequest } from 'node:http';
import { after, before, test } from 'node:test';
import aws4 from 'aws4';
import { sql } from 'kysely';
import { rolloutContract } from '#contracts/rollout.ts';
import { createOperatorKey, deleteOperatorKey, listOperatorKeys } from '#region/operator-keys.ts';
import { codeOf, sendRaw } from './cloud.ts';
import { type RealCloud, regionName, startRealCloud, until } from './realCloud.ts';

interface Key {
  readonly accessKeyId: string;
  readonly secretAccessKey: string;
}

type Json = Record<string, unknown>;

interface Call {
  readonly method?: string;
  readonly path: string;
  readonly body?: unknown;
  readonly by?: Key | null;
  readonly headers?: Readonly<Record<string, string>>;
  /** After it was signed. */
  readonly tamper?: (body: string) => string;
}

let cloud: RealCloud;
let alice: Key;
let bob: Key;
const keyOf = (operator: string): Promise<Key> =>
  createOperatorKey(cloud.region, { operator, createdBy: 'operator/test' });
before(async () => {
  cloud = await startRealCloud({ hosts: 3 });
  [alice, bob] = await Promise.all([keyOf('alice'), keyOf('bob')]);
  // The region looks who is there from time to time: what comes before the first look is told that there are no devices.
  await until('the fleet to be known', async () => {
    const { rows } = await sql<{ n: number }>`select count(*)::int as n from fleet_device`.execute(
      cloud.region.db,
    );
    return rows[0]?.n === 3;
  });
});
after(() => cloud.close());

const signed = ({
  method = 'GET',
  path: below,
  body,
  by = alice,
  headers = {},
  tamper = (text) => text,
}: Call) => {
  const text = body === undefined ? '' : typeof body === 'string' ? body : JSON.stringify(body);
  const path = `/rollout/v1/${below}`;
  const host = `127.0.0.1:${cloud.port}`;
  const all = { ...(text === '' ? {} : { 'content-type': 'application/json' }), ...headers };
  if (by === null) return { method, path, headers: { host, ...all }, body: text };
  const made = aws4.sign(
    { method, host, path, body: text, service: 'ec2', region: regionName, headers: all },
    by,
  );
  return { method, path, headers: made.headers as Record<string, string>, body: tamper(text) };
};

const call = async (asked: Call): Promise<{ status: number; body: Json }> => {
  const reply = await sendRaw(cloud.port, signed(asked));
  return { status: reply.status, body: JSON.parse(reply.body) };
};
const post = (path: string, body: unknown, by = alice) => call({ method: 'POST', path, body, by });

const refused = async (asked: Call, status: number, code: string, words?: RegExp): Promise<Json> => {
  const reply = await call(asked);
  assert.deepEqual([reply.status, reply.body.code], [status, code], JSON.stringify(reply.body));
  if (words !== undefined) assert.match(JSON.stringify(reply.body), words);
  assert.equal(typeof reply.body.requestId, 'string');
  return reply.body;
};

const spec = { waves: [{ percent: 30 }, { rest: true }], bakeMs: 0, confirmMs: 2_000 };
const mtu = (value: number) => [{ kind: 'fleet', id: 'fleet', body: { mtu: value } }];
const phase = (id: unknown, wanted: string): Promise<Json> =>
  until(`${id} ${wanted}`, async () => {
    const { body } = await call({ path: `rollouts/${id}` });
    return body.phase === wanted && body;
  });

test('who is no operator is refused: unsigned, an account, a tampered request, a key that was deleted', async () => {
  await refused({ path: 'rollouts', by: null }, 403, 'MissingAuthenticationToken');
  const { key } = await cloud.account();
  await refused({ path: 'rollouts', by: key }, 401, 'AuthFailure');
  const body = { name: 'mine', spec };
  await refused(
    { method: 'POST', path: 'policies', body, tamper: (text) => text.replace('mine', 'none') },
    403,
    'SignatureDoesNotMatch',
  );
  const gone = await keyOf('mallory');
  assert.equal((await call({ path: 'rollouts', by: gone })).status, 200);
  await deleteOperatorKey(cloud.region.db, gone.accessKeyId);
  await refused({ path: 'rollouts', by: gone }, 401, 'AuthFailure');
  await refused(
    { path: 'rollouts', by: { ...alice, secretAccessKey: 'guessed' } },
    403,
    'SignatureDoesNotMatch',
  );
  const listed = JSON.stringify(await listOperatorKeys(cloud.region.db));
  assert.match(listed, /"operator":"alice","createdBy":"operator\/test"/);
  assert.doesNotMatch(listed, /secret/i);
});

test('an operator’s key is worth nothing in the EC2 API', async () => {
  const text = 'Action=DescribeRegions&Version=2016-11-15';
  const host = `127.0.0.1:${cloud.port}`;
  const headers = { 'content-type': 'application/x-www-form-urlencoded' };
  const ask = { method: 'POST', host, path: '/', body: text, service: 'ec2', region: regionName, headers };
  const made = aws4.sign(ask, alice);
  const reply = await sendRaw(cloud.port, {
    ...{ method: 'POST', path: '/', body: text, headers: made.headers as Record<string, string> },
  });
  assert.equal(codeOf(reply), 'AuthFailure');
});

test('policies: create, list in pages, show; one token makes one version', async () => {
  const body = { name: 'careful', spec, clientToken: 'p1' };
  const made = await post('policies', body);
  assert.deepEqual([made.status, made.body.version, made.body.createdBy], [201, 1, 'operator/alice']);
  const again = await Promise.all([post('policies', body), post('policies', body)]);
  assert.deepEqual(
    again.map((each) => each.body.version),
    [1, 1],
  );
  const other = { ...body, spec: { ...spec, bakeMs: 5 } };
  await refused({ method: 'POST', path: 'policies', body: other }, 400, 'IdempotentParameterMismatch');
  assert.equal((await post('policies', { ...other, clientToken: 'p2' })).body.version, 2);
  const names: unknown[] = [];
  for (let next: unknown = ''; next !== undefined; ) {
    const page: Json = (await call({ path: `policies?maxResults=1${next === '' ? '' : `&after=${next}`}` }))
      .body;
    names.push(...(page.policies as Json[]).map(({ name }) => name));
    next = page.next;
  }
  assert.deepEqual(names, ['careful', 'default-fleet', 'default-program', 'default-urgent']);
  const versions = await call({ path: 'policies/careful?maxResults=1' });
  assert.deepEqual([(versions.body.policies as Json[])[0]?.version, versions.body.next], [2, '2']);
  await refused({ path: 'policies/nobody' }, 404, 'NotFound', /There is no policy nobody/);
});

test('what makes no sense is refused by name, and nothing is kept of it', async () => {
  const policy = (change: Json) => ({
    method: 'POST',
    path: 'policies',
    body: { name: 'bad', spec: { ...spec, ...change } },
  });
  const start = (body: Json) => ({ method: 'POST', path: 'rollouts', body });
  const none = 'InvalidParameterValue';
  await refused(policy({ waves: [] }), 400, none, /"refusal":"NoDevices"/);
  await refused(policy({ waves: [{ devices: [] }] }), 400, none, /NoDevices/);
  await refused(policy({ waves: [{ percent: 0 }] }), 400, none, /PercentageOfZero/);
  await refused(policy({ waves: [{ rest: true }, { percent: 5 }] }), 400, none, /WavesOverlap/);
  await refused(policy({ errorThreshold: 1.5 }), 400, none, /ThresholdOutOfRange/);
  await refused(policy({ wave: [] }), 400, none, /wave/);
  await refused({ method: 'POST', path: 'policies', body: '{' }, 400, 'InvalidRequest', /not JSON/);
  await refused({ method: 'POST', path: 'policies' }, 400, 'InvalidRequest', /no body/);
  await refused(start({ objects: [], policy: { name: 'careful' } }), 400, none, /EmptyChange/);
  await refused(start({ objects: mtu(3) }), 400, none, /mtu/);
  await refused(
    start({ objects: mtu(1_400), policy: { name: 'nobody' } }),
    404,
    'NotFound',
    /no policy nobody/,
  );
  await refused(
    start({ objects: [{ ...mtu(1_400)[0], from: 7 }], policy: { name: 'careful' } }),
    404,
    'NotFound',
    /VersionGone/,
  );
  await refused(start({ objects: mtu(1_400), clas: 'urgent' }), 400, none, /clas/);
  await refused({ path: 'rollouts?maxResults=0' }, 400, none, /maxResults is a whole number from 1/);
  await refused({ path: 'rollouts?maxResults=many' }, 400, none, /maxResults/);
  await refused(
    { path: 'rollouts?limit=3' },
    400,
    none,
    /has no parameter limit. It has: maxResults after ended/,
  );
  await refused({ path: 'rollouts?ended=perhaps' }, 400, none, /true or false/);
  await refused({ path: 'rollouts?after=nothing' }, 400, 'InvalidPaginationToken');
  await refused({ path: 'rollouts/ro-none' }, 404, 'NotFound', /There is no rollout ro-none/);
  await refused({ method: 'POST', path: 'rollouts/ro-none/pause' }, 404, 'NotFound');
  await refused({ method: 'POST', path: 'rollouts/ro-none/stop' }, 400, 'InvalidAction', /openapi.json/);
  await refused({ method: 'DELETE', path: 'rollouts' }, 400, 'InvalidAction');
  await refused({ path: 'objects/fleet/%zz/versions' }, 400, none, /escapes/);
  await refused({ path: 'objects/thing/x/versions' }, 400, none, /kind/);
  await refused({ path: `rollouts/${'x'.repeat(600)}` }, 400, 'InvalidRequest', /too long/);
  await refused({ path: 'policies/bad' }, 404, 'NotFound');
  assert.deepEqual((await call({ path: 'rollouts?ended=true' })).body, { rollouts: [] });
});

test('start, watch, approve, diff, audit, list: as the command line does it', async () => {
  const approved = { ...spec, approval: { before: 'second', by: ['bob'] } };
  await post('policies', { name: 'approved', spec: approved });
  const change = { policy: { name: 'approved' }, objects: mtu(1_400) };
  const dry = await until('the devices are known', async () => {
    const reply = await post('rollouts', { ...change, dryRun: true });
    return (reply.body.waves as string[][] | undefined)?.flat().length === 3 && reply;
  });
  assert.deepEqual([dry.status, dry.body.rolloutId], [200, undefined]);
  const { differences, unsaid } = dry.body.kernel as { differences: Json[]; unsaid: Json[] };
  assert.deepEqual(
    [differences, unsaid],
    [[], []],
    'no card has a VPC, and its own namespace stays as it is',
  );
  const tokened = { ...change, clientToken: 'once' };
  const [one, two] = await Promise.all([post('rollouts', tokened), post('rollouts', tokened)]);
  assert.equal(one.status, 201, JSON.stringify(one.body));
  assert.equal(one.body.rolloutId, two.body.rolloutId, 'one token, one rollout');
  const mismatch = { ...tokened, objects: mtu(1_300) };
  await refused({ method: 'POST', path: 'rollouts', body: mismatch }, 400, 'IdempotentParameterMismatch');
  const id = String(one.body.rolloutId);
  const events = eventsOf(id);
  const waiting = await until('it waits', async () => {
    const { body } = await call({ path: `rollouts/${id}` });
    return String(body.waitsFor).startsWith('approval of wave 2') && body;
  });
  assert.deepEqual([waiting.createdBy, (waiting.waves as Json[]).length], ['operator/alice', 2]);
  const diff = await call({ path: `rollouts/${id}/diff` });
  assert.equal(diff.body.unchanged, 3);
  const wrong = { method: 'POST', path: `rollouts/${id}/approve`, body: { clientToken: 'a' } };
  await refused(wrong, 403, 'UnauthorizedOperation', /NotAnApprover/);
  const watched = call({ path: `rollouts/${id}?revision=${waiting.revision}&waitSeconds=8` });
  const ok = await post(`rollouts/${id}/approve`, { clientToken: 'b' }, bob);
  assert.equal(ok.status, 200, JSON.stringify(ok.body));
  assert.equal((await post(`rollouts/${id}/approve`, { clientToken: 'b' }, bob)).status, 200, 'sent again');
  assert.notEqual((await watched).body.revision, waiting.revision, 'the watch was answered by the news');
  await phase(id, 'done');
  const shown = await events;
  assert.ok(shown.length > 1 && shown.at(-1)?.phase === 'done', 'the stream went to its end');
  const audit = (await call({ path: `rollouts/${id}/audit?maxResults=2` })).body;
  assert.equal((audit.records as Json[]).length, 2);
  const rest = (await call({ path: `rollouts/${id}/audit?after=${audit.next}` })).body;
  const approval = (rest.records as Json[]).find(({ what }) => what === 'approve wave 2');
  assert.equal(approval?.who, 'operator/bob');
  const versions = (await call({ path: 'objects/fleet/fleet/versions' })).body.versions as Json[];
  assert.deepEqual([versions[0]?.version, versions[0]?.devices], [1, 3]);
  assert.deepEqual((await call({ path: 'rollouts' })).body, { rollouts: [] }, 'none is under way');
});

test('pause, resume, abort; in another state they are refused by name', async () => {
  await post('policies', { name: 'slow', spec: { ...spec, bakeMs: 60_000 } });
  const made = await post('rollouts', { policy: { name: 'slow' }, objects: mtu(1_380) });
  const id = made.body.rolloutId;
  await phase(id, 'baking');
  assert.equal((await post(`rollouts/${id}/pause`, {})).status, 200);
  assert.equal((await post(`rollouts/${id}/resume`, { clientToken: 'r' })).status, 200);
  await refused({ method: 'POST', path: `rollouts/${id}/resume` }, 400, 'IncorrectState', /WrongPhase/);
  assert.equal((await post(`rollouts/${id}/resume`, { clientToken: 'r' })).status, 200, 'sent again');
  const other = { method: 'POST', path: `rollouts/${id}/pause`, body: { clientToken: 'r' } };
  await refused(other, 400, 'IdempotentParameterMismatch');
  assert.equal((await post(`rollouts/${id}/abort`, {})).status, 200);
  await phase(id, 'rolled-back');
  const page = (await call({ path: 'rollouts?ended=true&maxResults=1' })).body;
  assert.equal((page.rollouts as Json[])[0]?.rolloutId, id, 'the newest first');
  const next = (await call({ path: `rollouts?ended=true&after=${page.next}` })).body;
  assert.equal((next.rollouts as Json[]).length, 1);
});

test('what a tenant changes is recorded with its key and its request, shown here, and can be taken back (S8.6)', async () => {
  const carol = await cloud.account();
  const [instance] = await carol.run();
  const id = instance?.InstanceId ?? '';
  await carol.reaches(id, 'running');
  const { VpcId: vpcId = '', SecurityGroups: [group] = [] } = await carol.instance(id);
  const rule = new URLSearchParams({
    ...{ Action: 'AuthorizeSecurityGroupIngress', Version: '2016-11-15', GroupId: group?.GroupId ?? '' },
    ...{
      'IpPermissions.1.IpProtocol': 'tcp',
      'IpPermissions.1.FromPort': '22',
      'IpPermissions.1.ToPort': '22',
    },
    'IpPermissions.1.IpRanges.1.CidrIp': '192.0.2.0/24',
  });
  const reply = await carol.send(rule.toString());
  assert.equal(reply.status, 200);
  const changes = async (query = '') =>
    (await call({ path: `vpcs/${vpcId}/changes${query}` })).body.changes as Json[];
  const enforced = await until('it is known to be enforced', async () => {
    const [newest] = await changes(`?objectId=${group?.GroupId}&maxResults=1`);
    return newest?.outcome === 'enforced' && newest;
  });
  assert.equal(enforced.action, 'AuthorizeSecurityGroupIngress');
  assert.equal(enforced.accessKeyId, carol.key.accessKeyId);
  assert.equal(enforced.requestId, reply.headers['x-amzn-requestid']);
  assert.match(String(enforced.principal), new RegExp(carol.accountId));
  const [object] = enforced.objects as Json[];
  const path = `tenants/security-group/${group?.GroupId}`;
  const versions = (await call({ path: `${path}/versions` })).body.versions as Json[];
  assert.deepEqual([versions[0]?.digest, versions[1]?.digest], [object?.to, object?.from]);
  const former = { version: versions[1]?.version };
  const dry = await post(`${path}/restore`, { ...former, dryRun: true });
  assert.match(JSON.stringify(dry.body.lines), /^\["- ingress .*192\.0\.2\.0\/24/);
  const restored = await post(`${path}/restore`, former, bob);
  assert.equal(restored.status, 200, JSON.stringify(restored.body));
  assert.equal((await changes('?maxResults=1'))[0]?.principal, 'operator/bob');
  const again = { method: 'POST', path: `${path}/restore`, body: former };
  await refused(again, 400, 'IncorrectState', /is so now/);
  await refused({ ...again, body: { version: 'newest' } }, 400, 'InvalidParameterValue', /version/);
  await refused({ ...again, body: { version: 99_999 } }, 404, 'NotFound', /is not kept/);
  await refused(
    { ...again, path: 'tenants/security-group/sg-none/restore' },
    404,
    'NotFound',
    /Nothing is kept/,
  );
  await refused({ path: 'tenants/bucket/x/versions' }, 400, 'InvalidParameterValue', /kind/);
});

test('pages say where the next one begins, as text, for whoever asks over the other way too', async () => {
  const { body } = await call({ path: 'rollouts?ended=true&maxResults=1' });
  assert.equal(typeof body.next, 'string');
  assert.ok(rolloutContract['operator.rollouts'].result.safeParse(body).success);
});

test('the description names every operation, and needs no signature', async () => {
  const document = await sendRaw(cloud.port, signed({ path: 'openapi.json', by: null }));
  assert.equal(document.status, 200);
  const { openapi, paths } = JSON.parse(document.body) as { openapi: string; paths: Json };
  assert.equal(openapi, '3.1.0');
  assert.ok('/rollouts/{rolloutId}/approve' in paths);
  assert.ok(Object.keys(paths).length >= 10);
});

/** Every view of a rollout that its stream sends, until the stream ends. */
const eventsOf = (id: string): Promise<Json[]> =>
  new Promise((resolve, reject) => {
    const { path, headers } = signed({ path: `rollouts/${id}`, headers: { accept: 'text/event-stream' } });
    const request = httpRequest({ host: '127.0.0.1', port: cloud.port, path, headers }, (response) => {
      let text = '';
      response.setEncoding('utf8').on('data', (chunk: string) => {
        text += chunk;
      });
      response.on('end', () =>
        resolve([...text.matchAll(/^data: (.*)$/gm)].map(([, data = '']) => JSON.parse(data))),
      );
    });
    request.on('error', reject);
    request.end();
  });
