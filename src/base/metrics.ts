/**
 * Every metric of Pando, by its name, unit and labels: one registry for a process. Labels have few values by nature (an action, a code,
 * a kind, a host of a cell); nothing that a client makes up becomes one. What a process has nothing to say of stays without a sample.
 */
import { monitorEventLoopDelay } from 'node:perf_hooks';
import { Counter, collectDefaultMetrics, Gauge, Histogram, Registry } from 'prom-client';
import { alarms } from './alarms.ts';
import { rpcLoad } from './rpc/load.ts';

export const registry = new Registry();
const registers = [registry];

/** From a store's commit to a launch that waits for its image. Seconds. */
const buckets = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 120];
/** Of a migration: the guest's standstill. Seconds. */
const gapBuckets = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5];

const counter = <L extends string>(name: string, help: string, ...labelNames: L[]): Counter<L> =>
  new Counter({ name, help, labelNames, registers });
const gauge = <L extends string>(name: string, help: string, ...labelNames: L[]): Gauge<L> =>
  new Gauge({ name, help, labelNames, registers });
const histogram = <L extends string>(
  name: string,
  help: string,
  within: number[],
  ...labelNames: L[]
): Histogram<L> => new Histogram({ name, help, buckets: within, labelNames, registers });

export const metrics = {
  requests: counter(
    'pando_requests_total',
    'API requests answered, by EC2 action and error code (OK: none).',
    'action',
    'code',
  ),
  requestSeconds: histogram(
    'pando_request_seconds',
    'Time of an API request in the router.',
    buckets,
    'action',
  ),

  workflowsEnded: counter(
    'pando_workflows_ended_total',
    'Workflows that ended: done or undone.',
    'kind',
    'state',
  ),
  stepSeconds: histogram(
    'pando_workflow_step_seconds',
    'Time of a step of a workflow, all attempts.',
    buckets,
    'kind',
    'step',
  ),
  workflowSlots: gauge(
    'pando_workflow_slots',
    'Workflows at this processor: running, or queued for a slot.',
    'state',
  ),
  workflows: gauge('pando_workflows', 'Workflows of the cell that have not ended.', 'kind', 'state'),
  instances: gauge('pando_instances', 'Instances of the cell.', 'state'),
  instanceChecks: gauge(
    'pando_instance_checks',
    'Running instances of the cell by status check (instance, system) and what it says.',
    'check',
    'status',
  ),
  checkChanges: counter(
    'pando_instance_check_changes_total',
    'Changes of instances’ status checks that this processor has written down, by what they say since.',
    'check',
    'status',
  ),
  hostAmount: gauge(
    'pando_host_amount',
    'What a host has: used, and the limit of placement. vCPUs; memory in bytes.',
    'host',
    'resource',
    'amount',
  ),
  hostConnected: gauge('pando_host_connected', '1: the host has a stream to this processor.', 'host'),
  cellFill: gauge('pando_cell_fill', 'Part of a cell’s limit that is taken, 0 to 1.', 'resource'),
  quarantinedVms: gauge('pando_quarantined_vms', 'VMs that no record accounts for.'),
  migrationDowntime: histogram(
    'pando_migration_downtime_seconds',
    'From the guest’s pause on the source until it has been handed over.',
    gapBuckets,
  ),
  migrationPackets: counter(
    'pando_migration_packets_total',
    'Packets for guests that moved: held, forwarded, dropped.',
    'fate',
  ),

  pushes: counter(
    'pando_pushes_total',
    'Network states told to a device: ok, partial, failed.',
    'device',
    'outcome',
  ),
  pushSeconds: histogram(
    'pando_push_seconds',
    'Time of telling one device one network state.',
    buckets,
    'device',
  ),

  storeWaiting: gauge('pando_store_waiting', 'Work that waits for a connection to the store.'),
  storeConnections: gauge('pando_store_connections', 'Connections to the store.', 'state'),
  storeWaitSeconds: histogram(
    'pando_store_wait_seconds',
    'How long work waited for a connection to the store.',
    buckets,
  ),
  storeErrors: counter(
    'pando_store_errors_total',
    'Connections to the store that broke, could not be made, or did not come in time.',
    'kind',
  ),

  alarms: counter('pando_alarms_total', 'Lines of the log that ask for an operator.', 'alarm'),
  vms: gauge('pando_vms', 'VMs on this host.', 'state'),
  vmsWithoutSpace: gauge('pando_vms_without_space', 'VMs that stand still since this host’s disk is full.'),
  diskBytes: gauge(
    'pando_disk_bytes',
    'The file system of the VMs’ disks: total, available to them, and the reserve.',
    'amount',
  ),
  eventLoopLag: gauge(
    'pando_event_loop_lag_seconds',
    'Delay of the event loop since the metrics were read last, 99 of 100.',
  ),
  rpcStreams: gauge('pando_rpc_streams', 'Open streams to other processes.'),
  rpcCalls: gauge(
    'pando_rpc_calls_in_flight',
    'Calls under way: serving (asked of us), awaiting (asked by us).',
    'side',
  ),
} as const;

alarms.subscribe((alarm) => metrics.alarms.inc({ alarm: String(alarm) }));

const collectors = new Map<object, () => Promise<void> | void>();

/** `fill` sets gauges each time that the metrics are read. Returns what takes it away again. */
export const onCollect = (fill: () => Promise<void> | void): (() => void) => {
  const key = {};
  collectors.set(key, fill);
  return () => void collectors.delete(key);
};

onCollect(() => {
  metrics.rpcStreams.set(rpcLoad.streams);
  metrics.rpcCalls.set({ side: 'serving' }, rpcLoad.serving);
  metrics.rpcCalls.set({ side: 'awaiting' }, rpcLoad.awaiting);
});

/** In Prometheus' text form. A part that cannot tell just now (a store that is away) keeps what it told last. */
export const readMetrics = async (): Promise<string> => {
  await Promise.allSettled([...collectors.values()].map(async (fill) => fill()));
  return registry.metrics();
};

/** A timer of the measurement's own: rare, so that an idle process stays idle. */
const lagResolutionMs = 100;
const nsPerMs = 1e6;
let processMetrics = false;

/** CPU, memory and event loop lag of this process: from now on, and once. */
export const measureProcess = (): void => {
  if (processMetrics) return;
  processMetrics = true;
  collectDefaultMetrics({ register: registry, eventLoopMonitoringPrecision: 10 * lagResolutionMs });
  // Those of the library have the timer's own period in them.
  for (const { name } of registry.getMetricsAsArray())
    if (/^nodejs_eventloop_lag_\w+_seconds$/.test(name)) registry.removeSingleMetric(name);
  const delay = monitorEventLoopDelay({ resolution: lagResolutionMs });
  delay.enable();
  onCollect(() => {
    const p99Ms = delay.percentile(99) / nsPerMs - lagResolutionMs;
    metrics.eventLoopLag.set(Math.max(0, p99Ms) / 1_000);
    delay.reset();
  });
};
