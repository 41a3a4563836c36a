/** Metrics: well named, bounded, read on a socket of the process's own alone, told apart when merged; the dashboard names what there is. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { loggerTo } from '#base/log.ts';
import { measureProcess, metrics, onCollect, readMetrics, registry } from '#base/metrics.ts';
import { metricsEndpoint, metricsServer, showMetrics } from '#base/metricsListener.ts';
import { parseMetrics, sumBy } from '#cli/metricsText.ts';
import { runDirectory } from '#node/directory.ts';
import { gatherMetrics, mergeMetrics, readSocket } from '#node/gatherMetrics.ts';

const dashboard = join(import.meta.dirname, '..', '..', 'docs', 'grafana', 'pando.json');
const quiet = loggerTo('test', { write: () => undefined });

const until = async (condition: () => Promise<boolean>): Promise<void> => {
  while (!(await condition())) await new Promise((wake) => setImmediate(wake));
};

test('each has Prometheus’ form of name, a unit and a help', async () => {
  const all = await registry.getMetricsAsJSON();
  for (const each of Object.values(metrics)) {
    const found = all.find(({ name }) => name === Reflect.get(each, 'name'));
    assert.ok(found !== undefined);
    assert.match(found.name, /^pando_[a-z_]+$/);
    assert.match(found.help, /^[A-Z1].{10,}\.$/);
    assert.equal(String(found.type) === 'counter', found.name.endsWith('_total'), found.name);
    if (String(found.type) === 'histogram') assert.match(found.name, /_seconds$/);
  }
});

test('every metric that the dashboard names exists', async () => {
  measureProcess();
  const known = new Set(
    (await registry.getMetricsAsJSON()).flatMap(({ name, type }) =>
      String(type) === 'histogram' ? [`${name}_bucket`, `${name}_sum`, `${name}_count`] : [name],
    ),
  );
  const { panels } = JSON.parse(readFileSync(dashboard, 'utf8')) as {
    panels: { title: string; targets?: { expr: string }[] }[];
  };
  const named = new Set<string>();
  for (const { title, targets = [] } of panels)
    for (const { expr } of targets)
      for (const [name] of expr.matchAll(/\b(?:pando|process|nodejs)_\w+/g)) {
        named.add(name);
        assert.ok(known.has(name), `${title}: there is no ${name}`);
      }
  for (const each of Object.values(metrics)) {
    const name = String(Reflect.get(each, 'name'));
    assert.ok(
      [...named].some((one) => one.startsWith(name)),
      `the dashboard shows nothing of ${name}`,
    );
  }
});

test('an alarm in the log is counted', async () => {
  const count = async (): Promise<number> =>
    sumBy(parseMetrics(await readMetrics()), 'pando_alarms_total', ['alarm']).get('test-alarm') ?? 0;
  const before = await count();
  quiet.error({ alarm: 'test-alarm' }, 'something');
  quiet.error({ other: 1 }, 'nothing');
  assert.equal((await count()) - before, 1);
});

test('a part that cannot tell keeps the others from nothing', async () => {
  const failing = onCollect(() => Promise.reject(new Error('the store is away')));
  assert.match(await readMetrics(), /pando_rpc_streams \d/);
  failing();
});

test('only loopback addresses and sockets are listened on', () => {
  for (const host of ['0.0.0.0', '198.18.0.1', '::', '127.0.0.1.example.com'])
    assert.equal(metricsEndpoint.safeParse({ host, port: 1 }).success, false, host);
  for (const host of ['127.0.0.1', '::1']) assert.ok(metricsEndpoint.safeParse({ host, port: 1 }).success);
});

test('a process shows them on a socket that is its own, and its next life does again', async (t) => {
  const root = mkdtempSync(join(tmpdir(), 'pando-metrics-'));
  t.after(() => rmSync(root, { recursive: true, force: true }));
  const directory = runDirectory(root);
  const socket = directory.metricsSocket('cell-a-1');
  for (const life of [1, 2]) {
    showMetrics({ socket }, quiet, {});
    await until(async () => (await gatherMetrics(directory)).size === 1);
    assert.equal(statSync(socket).mode & 0o777, 0o600, `life ${life}`);
    assert.match(await readSocket(socket), /# TYPE process_cpu_seconds_total counter/);
  }
  const merged = parseMetrics(mergeMetrics(await gatherMetrics(directory)));
  assert.ok(merged.length > 20 && merged.every(({ labels }) => labels.process === 'cell-a-1'));
  assert.equal((await gatherMetrics(directory, 'another')).size, 0);
});

test('texts of several processes become one, with each family once', () => {
  const text = (value: number): string =>
    `# HELP a_total Help.\n# TYPE a_total counter\na_total{x="1 {y} \\"q\\""} ${value}\n\n# HELP b Help.\n# TYPE b gauge\nb ${value}\n`;
  const merged = mergeMetrics(
    new Map([
      ['one', text(1)],
      ['two', text(2)],
    ]),
  );
  assert.equal(merged.match(/# TYPE a_total/g)?.length, 1);
  assert.ok(
    merged.indexOf('a_total{process="two"') < merged.indexOf('# HELP b'),
    'samples lie with their family',
  );
  assert.deepEqual(
    parseMetrics(merged).map(({ name, labels, value }) => [name, labels.process, labels.x, value]),
    [
      ['a_total', 'one', '1 {y} "q"', 1],
      ['a_total', 'two', '1 {y} "q"', 2],
      ['b', 'one', undefined, 1],
      ['b', 'two', undefined, 2],
    ],
  );
});

test('the server knows one path, and says what went wrong', async (t) => {
  const server = metricsServer((path) =>
    path === '/bad'
      ? Promise.reject(new Error('x'))
      : path === '/metrics'
        ? Promise.resolve('a 1\n')
        : undefined,
  );
  server.listen(0, '127.0.0.1');
  t.after(() => server.close());
  await once(server, 'listening');
  const address = server.address();
  const base = `http://127.0.0.1:${typeof address === 'object' ? address?.port : ''}`;
  const statusOf = async (path: string, init?: RequestInit): Promise<number> =>
    (await fetch(base + path, init)).status;
  assert.equal(await statusOf('/metrics?x=1'), 200);
  assert.equal(await statusOf('/metrics', { method: 'POST' }), 404);
  assert.equal(await statusOf('/'), 404);
  assert.equal(await statusOf('/bad'), 503);
});
