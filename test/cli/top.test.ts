/** What `pando top` makes of two readings. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parseMetrics } from '#cli/metricsText.ts';
import { type Reading, topFacts, topScreen } from '#cli/topView.ts';

const reading = (atMs: number, text: string): Reading => ({
  atMs,
  samples: parseMetrics(text),
  nameOf: (id) => `host-${id}`,
});

const before = `
pando_requests_total{process="router",action="RunInstances",code="OK"} 10
pando_requests_total{process="router",action="RunInstances",code="InternalError"} 1
process_cpu_seconds_total{process="cell-a-1"} 5
pando_workflows_ended_total{process="cell-a-1",cell="cell-a",kind="launch",state="done"} 100
`;
const now = `
pando_requests_total{process="router",action="RunInstances",code="OK"} 16
pando_requests_total{process="router",action="RunInstances",code="InternalError"} 3
pando_requests_total{process="router",action="DescribeVpcs",code="OK"} 2
process_cpu_seconds_total{process="cell-a-1"} 6
process_resident_memory_bytes{process="cell-a-1"} 104857600
pando_event_loop_lag_seconds{process="cell-a-1"} 0.012
pando_workflows_ended_total{process="cell-a-1",cell="cell-a",kind="launch",state="done"} 4
pando_workflows{process="cell-a-1",cell="cell-a",kind="launch",state="running"} 3
pando_workflows{process="cell-a-2",cell="cell-a",kind="launch",state="running"} 2
pando_workflows{process="cell-b-1",cell="cell-b",kind="launch",state="running"} 4
pando_host_amount{process="cell-a-1",cell="cell-a",host="h",resource="vcpus",amount="used"} 8
pando_host_amount{process="cell-a-1",cell="cell-a",host="h",resource="vcpus",amount="limit"} 32
pando_host_amount{process="cell-a-1",cell="cell-a",host="h",resource="memory",amount="used"} 1073741824
pando_host_amount{process="cell-a-1",cell="cell-a",host="h",resource="memory",amount="limit"} 2147483648
pando_host_connected{process="cell-a-1",cell="cell-a",host="h"} 0
pando_host_connected{process="cell-a-2",cell="cell-a",host="h"} 1
pando_migration_downtime_seconds_sum{process="cell-a-1"} 0.09
pando_migration_downtime_seconds_count{process="cell-a-1"} 3
pando_migration_packets_total{process="cell-a-1",fate="dropped"} 0
`;

test('counters become rates; a process that began anew counts from nothing', () => {
  const facts = topFacts(reading(1_000, before), reading(3_000, now));
  assert.equal(facts.seconds, 2);
  assert.equal(facts.requestsPerSecond, 5);
  assert.equal(facts.errorsPerSecond, 1);
  assert.deepEqual(facts.actions[0], { name: 'RunInstances', perSecond: 4, errorsPerSecond: 1, total: 19 });
  assert.equal(facts.launchesPerSecond, 2);
  assert.deepEqual(facts.processes, [{ process: 'cell-a-1', cpuPercent: 50, memoryMib: 100, lagMs: 12 }]);
});

test('what both processors of a cell tell of their store counts once', () => {
  const facts = topFacts(reading(1_000, before), reading(3_000, now));
  assert.deepEqual(facts.workflows, { 'launch running': 7 });
  assert.deepEqual(facts.hosts, [
    {
      host: 'host-h',
      connected: true,
      vcpus: { used: 8, limit: 32 },
      memoryMib: { used: 1024, limit: 2048 },
    },
  ]);
  assert.equal(Math.round(facts.migrations.meanDowntimeMs ?? 0), 30);
});

test('a screen shows all of it, also of a region that has done nothing yet', () => {
  const screen = topScreen(topFacts(reading(1_000, before), reading(3_000, now)), 'pando-1');
  for (const part of [
    /requests 5\.0\/s · errors 1\.0\/s/,
    /█{5}░{15} 8\/32 vCPU/,
    /█{10}░{10} 1024\/2048 MiB/,
    /downtime 30 ms/,
  ])
    assert.match(screen, part);
  assert.match(topScreen(topFacts(reading(0, ''), reading(1, '')), 'x'), /requests 0\.0\/s/);
});
