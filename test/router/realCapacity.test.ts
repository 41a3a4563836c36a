/** Waiting for capacity through the API: by RunInstances with a header, by HTTP and JSON, by streams of events (S10.1, S10.3, S10.4). */
import assert from 'node:assert/strict';
import { request as httpRequest } from 'node:http';
import { after, before, test } from 'node:test';
import aws4 from 'aws4';
import { codeOf, messageOf, type Reply, sendRaw } from './cloud.ts';
import { type RealClient, type RealCloud, regionName, startRealCloud, until } from './realCloud.ts';

let cloud: RealCloud;
let alice: RealClient;
before(async () => {
  cloud = await startRealCloud({ hosts: 1 });
  alice = await cloud.account();
});
after(() => cloud.close());

/** As big as the host. */
const big = 'custom.16000m.8192';

interface Call {
  readonly method?: string;
  readonly path: string;
  readonly body?: unknown;
  readonly headers?: Readonly<Record<string, string>>;
  readonly by?: RealClient;
}

const signed = ({ method = 'GET', path, body, headers = {}, by = alice }: Call) => {
  const text = body === undefined ? '' : JSON.stringify(body);
  const made = aws4.sign(
    {
      ...{ method, host: `127.0.0.1:${cloud.port}`, path, body: text, service: 'ec2', region: regionName },
      headers: { ...(text === '' ? {} : { 'content-type': 'application/json' }), ...headers },
    },
    by.key,
  );
  return { method, path, headers: made.headers as Record<string, string>, body: text };
};

const capacity = async (call: Call): Promise<{ status: number; body: Record<string, unknown> }> => {
  const reply = await sendRaw(cloud.port, signed({ ...call, path: `/capacity/v1/${call.path}` }));
  return { status: reply.status, body: JSON.parse(reply.body) };
};

const runForm = (type: string, more: Record<string, string> = {}): string =>
  new URLSearchParams({
    ...{ Action: 'RunInstances', Version: '2016-11-15', ImageId: cloud.imageId, InstanceType: type },
    ...{ MinCount: '1', MaxCount: '1', ...more },
  }).toString();

const runWith = (headers: Record<string, string>, more: Record<string, string> = {}): Promise<Reply> =>
  alice.send(runForm(big, more), { headers });

const idsIn = ({ body }: Reply): string[] =>
  [...body.matchAll(/<instanceId>([^<]*)/g)].map(([, id]) => id ?? '');

test('a launch without room fails at once, and a request waits where its client asked for it', async () => {
  const [first] = await alice.run({ InstanceType: big as never });
  const id = first?.InstanceId ?? '';
  await alice.reaches(id, 'running');
  const plain = await runWith({});
  assert.equal(codeOf(plain), 'InsufficientInstanceCapacity');
  assert.equal(plain.headers['x-pando-pending-id'], undefined);
  const refused = await runWith({ 'x-pando-pending': '600' }, { ClientToken: 'launch-1' });
  assert.equal(codeOf(refused), 'InsufficientInstanceCapacity');
  const pendingId = String(refused.headers['x-pando-pending-id']);
  assert.match(pendingId, /^pr-001/);
  assert.ok(messageOf(refused)?.includes(pendingId));
  const again = await runWith({ 'x-pando-pending': '600' }, { ClientToken: 'launch-1' });
  assert.equal(again.headers['x-pando-pending-id'], pendingId, 'the same launch waits once');
  const stream = await openStream();
  await alice.call('TerminateInstances', { InstanceIds: [id] });
  const event = await stream.next();
  assert.equal(event.kind, 'capacity.offered');
  assert.equal(event.requestId, pendingId);
  stream.close();
  const { body } = await capacity({ path: `requests/${pendingId}` });
  const [offer] = body.offers as { offerId: string }[];
  assert.equal(codeOf(await runWith({})), 'InsufficientInstanceCapacity', 'I9: reserved');
  const launched = await runWith({ 'x-pando-hold': offer?.offerId ?? '' });
  assert.equal(launched.status, 200);
  const [mine = ''] = idsIn(launched);
  await alice.reaches(mine, 'running');
  assert.equal((await capacity({ path: `requests/${pendingId}` })).body.state, 'fulfilled');
  const replayed = await openStream(event.id);
  assert.equal((await replayed.next()).kind, 'capacity.claimed', 'from where it was');
  replayed.close();
  await alice.call('TerminateInstances', { InstanceIds: [mine] });
  await alice.reaches(mine, 'terminated');
});

test('a header that is not signed is refused, and one that makes no sense too', async () => {
  const tamper = (one: {
    method: string;
    path: string;
    headers: Readonly<Record<string, string>>;
    body: string | Buffer;
  }) => ({
    ...one,
    headers: { ...one.headers, 'x-pando-pending': '600' },
  });
  assert.equal(codeOf(await alice.send(runForm(big), { tamper })), 'SignatureDoesNotMatch');
  for (const value of ['0', 'soon', '99999999', '-1'])
    assert.equal(codeOf(await runWith({ 'x-pando-pending': value })), 'InvalidParameterValue');
  assert.equal(codeOf(await runWith({ 'x-pando-hold': 'i-0010123456789abcd' })), 'InvalidParameterValue');
  assert.equal(
    codeOf(await runWith({ 'x-pando-hold': 'po-0010123456789abcd' })),
    'InvalidCapacityOffer.NotFound',
  );
  assert.equal(
    codeOf(await runWith({ 'x-pando-hold': 'po-fff0123456789abcd' })),
    'InvalidCapacityOffer.NotFound',
  );
});

test('over HTTP and JSON: create, list, show, cancel, events', async () => {
  const bob = await cloud.account();
  const body = { instanceType: big, diskGib: 1, clientToken: 'one', validSeconds: 600 };
  const made = await capacity({ method: 'POST', path: 'requests', body, by: bob });
  assert.equal(made.status, 201);
  const same = await capacity({ method: 'POST', path: 'requests', body, by: bob });
  assert.equal(same.body.requestId, made.body.requestId);
  const id = String(made.body.requestId);
  const offered = await until('an offer', async () => {
    const shown = await capacity({ path: `requests/${id}`, by: bob });
    return shown.body.state === 'offered' && shown;
  });
  assert.equal((offered.body.offers as object[]).length, 1);
  const listed = await capacity({ path: 'requests?maxResults=10&state=offered', by: bob });
  assert.equal((listed.body.requests as object[]).length, 1);
  assert.equal((await capacity({ path: `requests/${id}` })).body.code, 'InvalidCapacityRequest.NotFound');
  assert.equal(
    (await capacity({ method: 'DELETE', path: `requests/${id}`, by: bob })).body.state,
    'cancelled',
  );
  const polled = await capacity({ path: 'events?cursor=0', by: bob });
  const events = polled.body.events as { kind: string; eventId: string }[];
  assert.deepEqual(
    events.map(({ kind }) => kind),
    ['capacity.offered', 'request.cancelled'],
  );
  const more = await capacity({ path: `events?cursor=${polled.body.cursor}`, by: bob });
  assert.deepEqual(more.body.events, []);
});

test('what is wrong is said in JSON', async () => {
  const cases: readonly [Call, number, string][] = [
    [{ path: 'nowhere' }, 400, 'InvalidAction'],
    [{ method: 'POST', path: 'requests', body: { instanceType: 'no.such' } }, 400, 'InvalidParameterValue'],
    [{ method: 'POST', path: 'requests', body: [1, 2] }, 400, 'InvalidParameterValue'],
    [{ method: 'POST', path: 'requests' }, 400, 'InvalidParameterValue'],
    [{ path: 'requests?maxResults=x' }, 400, 'InvalidParameterValue'],
    [{ path: 'events?cursor=nonsense' }, 400, 'InvalidPaginationToken'],
    [{ path: 'requests/i-0010123456789abcd' }, 400, 'InvalidCapacityRequest.NotFound'],
  ];
  for (const [call, status, code] of cases) {
    const reply = await capacity(call);
    assert.deepEqual([reply.status, reply.body.code], [status, code], JSON.stringify(call));
  }
  const anybody = await sendRaw(cloud.port, {
    ...{ method: 'GET', path: '/capacity/v1/requests', headers: {}, body: '' },
  });
  assert.equal(JSON.parse(anybody.body).code, 'MissingAuthenticationToken');
});

test('the description is served to everybody, and names what there is', async () => {
  const { status, body } = await sendRaw(cloud.port, {
    ...{ method: 'GET', path: '/capacity/v1/openapi.json', headers: {}, body: '' },
  });
  const document = JSON.parse(body);
  assert.equal(status, 200);
  assert.equal(document.openapi, '3.1.0');
  assert.deepEqual(Object.keys(document.paths), ['/requests', '/requests/{requestId}', '/events']);
  const references = [...body.matchAll(/"\$ref":"#\/components\/schemas\/([^"]*)"/g)].map(([, name]) => name);
  for (const name of references) assert.ok(document.components.schemas[name ?? ''], name);
});

interface Stream {
  next(): Promise<{ id: string; kind: string; requestId: string }>;
  close(): void;
}

const openStream = (lastEventId?: string): Promise<Stream> =>
  new Promise((resolve, reject) => {
    const { path, headers } = signed({
      path: '/capacity/v1/events',
      headers: {
        accept: 'text/event-stream',
        ...(lastEventId === undefined ? {} : { 'last-event-id': lastEventId }),
      },
    });
    const request = httpRequest({ host: '127.0.0.1', port: cloud.port, path, headers }, (response) => {
      assert.equal(response.statusCode, 200);
      let text = '';
      let wake = Promise.withResolvers<void>();
      response.setEncoding('utf8').on('data', (chunk: string) => {
        text += chunk;
        wake.resolve();
        wake = Promise.withResolvers();
      });
      const next: Stream['next'] = async () => {
        for (;;) {
          const match = /id: (.*)\nevent: (.*)\ndata: (.*)\n\n/.exec(text);
          if (match !== null) {
            const [all, id = '', kind = '', data = ''] = match;
            text = text.slice(match.index + all.length);
            return { id, kind, requestId: JSON.parse(data).requestId };
          }
          await wake.promise;
        }
      };
      resolve({ next, close: () => request.destroy() });
    });
    request.on('error', reject).end();
  });
