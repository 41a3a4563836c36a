/** Spans: made of traces and calls, exported by the SDK where that was asked for, and by nobody otherwise. */
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { registerHooks } from 'node:module';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { pino } from 'pino';
import { exportSpans } from '#base/spanExport.ts';
import { exportsSpans, inSpan } from '#base/spans.ts';
import { currentTrace, traceIdOf, traceOf } from '#base/trace.ts';
import { PandoError } from '#contracts/errors.ts';
import { relaySpans } from '#node/spanRelay.ts';
import { startSpanCollector } from '../support/spanCollector.ts';

const silent = pino({ level: 'silent' });
const requestId = '11112222-3333-4444-8555-666677778888';
const part = (name: string, work: () => Promise<unknown>): Promise<unknown> =>
  inSpan({ name, kind: 'internal', parent: currentTrace() ?? traceOf(requestId) }, work);

const atOnceMs = 100;
const laterMs = 30;
/** As a machine does that has others to serve. */
const standStill = (ms: number): void => {
  const end = performance.now() + ms;
  while (performance.now() < end);
};

test('without an endpoint the SDK is not even looked for, and work runs in its trace all the same', async (t) => {
  const loaded: string[] = [];
  const hooks = registerHooks({
    resolve: (specifier, context, next) => {
      loaded.push(specifier);
      return next(specifier, context);
    },
  });
  t.after(() => hooks.deregister());
  exportSpans('router', silent, {});
  exportSpans('router', silent, { OTEL_EXPORTER_OTLP_ENDPOINT: '' });
  exportSpans('router', silent, { OTEL_EXPORTER_OTLP_ENDPOINT: 'http://x', OTEL_SDK_DISABLED: 'true' });
  await part('alone', async () => assert.equal(currentTrace()?.requestId, requestId));
  await inSpan({ name: 'nobody’s', kind: 'internal', parent: undefined }, async () =>
    assert.equal(currentTrace(), undefined),
  );
  assert.equal(exportsSpans(), false);
  assert.deepEqual(
    loaded.filter((specifier) => /otlp|opentelemetry/.test(specifier)),
    [],
  );
});

test('with one, spans arrive with their parents, times and errors; also through the relay’s socket', async () => {
  const { startExport } = await import('#base/otlp.ts');
  const collector = await startSpanCollector();
  const dir = mkdtempSync(join(tmpdir(), 'pando-spans-'));
  const socket = join(dir, 'spans', 'otlp');
  const relay = relaySpans({ endpoint: collector.endpoint, socket }, (line) => assert.fail(line));
  try {
    for (const [endpoint, socketPath] of [
      [collector.endpoint, undefined],
      // Nobody listens there: what arrives came by the socket.
      ['http://127.0.0.1:1', socket],
    ] as const) {
      const before = collector.spans.length;
      const stop = startExport({ service: 'test', endpoint, socketPath });
      await part('outer', async () => {
        await part('inner', () => {
          standStill(atOnceMs);
          return new Promise((wake) => setTimeout(wake, laterMs));
        });
        await part('broken', async () => {
          throw new PandoError('HostUnreachable', 'It is away.');
        }).catch(() => undefined);
      });
      await stop();
      const spans = collector.spans.slice(before);
      assert.deepEqual(spans.map(({ name }) => name).sort(), ['broken', 'inner', 'outer']);
      const [outer, inner, broken] = ['outer', 'inner', 'broken'].map((name) =>
        spans.find((span) => span.name === name),
      );
      assert.ok(outer !== undefined && inner !== undefined && broken !== undefined);
      assert.deepEqual(
        [outer.traceId, inner.traceId, outer.service],
        [traceIdOf(traceOf(requestId)), outer.traceId, 'pando-test'],
      );
      assert.deepEqual([inner.parentSpanId, broken.parentSpanId], [outer.spanId, outer.spanId]);
      // What the work did at once is of it, and what began in it is no longer than the whole.
      assert.ok(inner.ms > (atOnceMs + laterMs) * 0.8, `${inner.ms} ms`);
      assert.ok(outer.ms >= inner.ms, `${inner.ms} ms in ${outer.ms} ms`);
      assert.deepEqual([inner.code, broken.code], [undefined, 'HostUnreachable']);
      assert.equal(inner.attributes.requestId, requestId);
    }
    // A part of all traces: all or nothing of each.
    const before = collector.spans.length;
    const stop = startExport({ service: 'test', endpoint: collector.endpoint, share: '0' });
    await part('left out', async () => undefined);
    await stop();
    assert.equal(collector.spans.length, before);
  } finally {
    relay.close();
    await collector.close();
    rmSync(dir, { recursive: true, force: true });
  }
});
