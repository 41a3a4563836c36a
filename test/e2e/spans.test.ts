/** The spans of one launch, from every process that takes part in it, in one trace at a collector. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { startSpanCollector } from '../support/spanCollector.ts';
import { typeSmallest } from './support/cloud.ts';
import { startRegion } from './support/region.ts';
import { until } from './support/until.ts';

test('a launch is one trace through router, region, cell, agent and card', {
  timeout: 8 * 60_000,
}, async () => {
  const collector = await startSpanCollector();
  try {
    await using region = await startRegion({ cells: 1, hostsPerCell: 1, otlp: collector.endpoint });
    const network = await region.cloud.network('10.77.0.0/16', '-1');
    const ids = await region.cloud.launch({ network, type: typeSmallest });
    await region.cloud.reach('running', ids);
    let lacks = 'nothing has come';
    const spans = await until('the launch to be exported', () => {
      const workflow = collector.spans.find(
        ({ name, attributes }) => name === 'workflow launch' && attributes.subject === ids[0],
      );
      const all = collector.spans.filter(({ traceId }) => traceId === workflow?.traceId);
      const known = new Set(all.map(({ spanId }) => spanId));
      // Each process sends its own, a moment after it has ended.
      const orphans = all.filter(({ parentSpanId }) => parentSpanId && !known.has(parentSpanId));
      const seen = [...new Set(all.map(({ service }) => service))];
      const without = orphans.map(({ service, name }) => `${service} ${name}`);
      lacks = `of ${seen}, ${all.length} of ${collector.spans.length}, without parent: ${without}`;
      return (
        workflow !== undefined && without.length === 0 && seen.some((service) => /card/.test(service)) && all
      );
    }).catch((error: Error) => assert.fail(`${error.message}: ${lacks}`));
    const services = [...new Set(spans.map(({ service }) => service.replace(/-?[a-z]?-?\d*$/, '')))];
    for (const part of ['router', 'region', 'cell', 'agent', 'card'])
      assert.ok(
        services.some((service) => service.startsWith(`pando-${part}`)),
        `${part} is not among ${services}`,
      );
    const roots = spans.filter(({ parentSpanId }) => !parentSpanId);
    assert.deepEqual(
      roots.map(({ name, attributes }) => [name, attributes.action]),
      [['request', 'RunInstances']],
    );
    for (const name of ['launch.launchVm', 'vm.launch', 'card.attachPort', 'region.allocateInterface'])
      assert.ok(
        spans.some((span) => span.name === name),
        name,
      );
    assert.equal(new Set(spans.map(({ attributes }) => attributes.requestId)).size, 1);
  } finally {
    await collector.close();
  }
});
