/** What `pando top` shows: two readings of all processes' metrics, turned into rates. Pure. */
import { maxBy, type Sample, sumBy } from './metricsText.ts';
import { paint, table } from './output.ts';

/** Samples of all processes at one moment, each with its label `process`. */
export interface Reading {
  readonly atMs: number;
  readonly samples: readonly Sample[];
  /** Hosts' names by their ids, for people. */
  nameOf(hostId: string): string;
}

interface Rate {
  readonly name: string;
  readonly perSecond: number;
  readonly errorsPerSecond: number;
  readonly total: number;
}

interface HostLine {
  readonly host: string;
  readonly connected: boolean;
  readonly vcpus: { readonly used: number; readonly limit: number };
  readonly memoryMib: { readonly used: number; readonly limit: number };
}

export interface TopFacts {
  readonly seconds: number;
  readonly requestsPerSecond: number;
  readonly errorsPerSecond: number;
  /** Those that were asked for, the most frequent first. */
  readonly actions: readonly Rate[];
  readonly launchesPerSecond: number;
  readonly launchesEnded: number;
  /** `kind state` → how many. */
  readonly workflows: Readonly<Record<string, number>>;
  readonly instances: Readonly<Record<string, number>>;
  readonly quarantined: number;
  readonly alarms: Readonly<Record<string, number>>;
  readonly hosts: readonly HostLine[];
  readonly migrations: {
    readonly count: number;
    readonly meanDowntimeMs: number | undefined;
    readonly packets: Readonly<Record<string, number>>;
  };
  readonly processes: readonly {
    readonly process: string;
    readonly cpuPercent: number;
    readonly memoryMib: number;
    readonly lagMs: number;
  }[];
}

const mib = 1024 ** 2;
const total = (sums: ReadonlyMap<string, number>): number =>
  [...sums.values()].reduce((sum, each) => sum + each, 0);

/** How fast a counter grew. A process that has been started anew counts from nothing. */
const growth = (
  before: readonly Sample[],
  now: readonly Sample[],
  name: string,
  by: readonly string[],
): Map<string, number> => {
  const full = ['process', ...by];
  const old = sumBy(before, name, full);
  const grown = new Map<string, number>();
  for (const [key, value] of sumBy(now, name, full)) {
    const was = old.get(key) ?? 0;
    const label = key.slice(key.indexOf(' ') + 1);
    grown.set(label, (grown.get(label) ?? 0) + (value >= was ? value - was : value));
  }
  return grown;
};

/** Cells' figures added up, each told by the processor that tells the most. */
const ofCells = (samples: readonly Sample[], name: string, label: string): Record<string, number> => {
  const sums: Record<string, number> = {};
  for (const [key, value] of maxBy(samples, name, ['cell', ...label.split(' ')])) {
    const rest = key.slice(key.indexOf(' ') + 1);
    if (value > 0) sums[rest] = (sums[rest] ?? 0) + value;
  }
  return sums;
};

const actionsOf = (before: Reading, now: Reading, seconds: number): Rate[] => {
  const grown = growth(before.samples, now.samples, 'pando_requests_total', ['action', 'code']);
  const totals = sumBy(now.samples, 'pando_requests_total', ['action']);
  const rates = new Map<string, { all: number; errors: number }>();
  for (const [key, count] of grown) {
    const [action = '', code] = key.split(' ');
    const rate = rates.get(action) ?? { all: 0, errors: 0 };
    rates.set(action, { all: rate.all + count, errors: rate.errors + (code === 'OK' ? 0 : count) });
  }
  return [...rates]
    .map(([name, { all, errors }]) => ({
      name,
      perSecond: all / seconds,
      errorsPerSecond: errors / seconds,
      total: totals.get(name) ?? 0,
    }))
    .sort((a, b) => b.perSecond - a.perSecond || b.total - a.total);
};

const hostsOf = ({ samples, nameOf }: Reading): HostLine[] => {
  const amounts = maxBy(samples, 'pando_host_amount', ['host', 'resource', 'amount']);
  return [...maxBy(samples, 'pando_host_connected', ['host'])].map(([host, connected]) => {
    const of = (resource: string, unit: number) => ({
      used: (amounts.get(`${host} ${resource} used`) ?? 0) / unit,
      limit: (amounts.get(`${host} ${resource} limit`) ?? 0) / unit,
    });
    return {
      host: nameOf(host),
      connected: connected > 0,
      vcpus: of('vcpus', 1),
      memoryMib: of('memory', mib),
    };
  });
};

const processesOf = (before: Reading, now: Reading, seconds: number): TopFacts['processes'] => {
  const cpu = growth(before.samples, now.samples, 'process_cpu_seconds_total', ['process']);
  const memory = sumBy(now.samples, 'process_resident_memory_bytes', ['process']);
  const lag = sumBy(now.samples, 'pando_event_loop_lag_seconds', ['process']);
  return [...memory]
    .map(([process, bytes]) => ({
      process,
      cpuPercent: ((cpu.get(process) ?? 0) / seconds) * 100,
      memoryMib: Math.round(bytes / mib),
      lagMs: Math.round((lag.get(process) ?? 0) * 1000),
    }))
    .sort((a, b) => b.cpuPercent - a.cpuPercent);
};

export const topFacts = (before: Reading, now: Reading): TopFacts => {
  const seconds = Math.max(0.001, (now.atMs - before.atMs) / 1000);
  const actions = actionsOf(before, now, seconds);
  const ended = growth(before.samples, now.samples, 'pando_workflows_ended_total', ['kind', 'state']);
  const endedTotals = sumBy(now.samples, 'pando_workflows_ended_total', ['kind', 'state']);
  const moved = total(sumBy(now.samples, 'pando_migration_downtime_seconds_count', []));
  const downtime = total(sumBy(now.samples, 'pando_migration_downtime_seconds_sum', []));
  return {
    seconds,
    requestsPerSecond: actions.reduce((sum, each) => sum + each.perSecond, 0),
    errorsPerSecond: actions.reduce((sum, each) => sum + each.errorsPerSecond, 0),
    actions,
    launchesPerSecond: (ended.get('launch done') ?? 0) / seconds,
    launchesEnded: endedTotals.get('launch done') ?? 0,
    workflows: ofCells(now.samples, 'pando_workflows', 'kind state'),
    instances: ofCells(now.samples, 'pando_instances', 'state'),
    quarantined: total(maxBy(now.samples, 'pando_quarantined_vms', ['cell'])),
    alarms: Object.fromEntries(sumBy(now.samples, 'pando_alarms_total', ['alarm'])),
    hosts: hostsOf(now),
    migrations: {
      count: moved,
      meanDowntimeMs: moved === 0 ? undefined : (downtime / moved) * 1000,
      packets: Object.fromEntries(sumBy(now.samples, 'pando_migration_packets_total', ['fate'])),
    },
    processes: processesOf(before, now, seconds),
  };
};

const barCells = 20;
const actionsShown = 8;
const processesShown = 10;

const bar = ({ used, limit }: { readonly used: number; readonly limit: number }): string => {
  const full = limit > 0 ? Math.min(barCells, Math.round((used / limit) * barCells)) : 0;
  return `${'█'.repeat(full)}${'░'.repeat(barCells - full)}`;
};

const counts = (of: Readonly<Record<string, number>>): string =>
  Object.entries(of)
    .map(([name, count]) => `${name} ${count}`)
    .join(' · ') || 'none';
const rate = (perSecond: number): string => perSecond.toFixed(1);

/** One screen. */
export const topScreen = (facts: TopFacts, title: string): string => {
  const { migrations: moves, hosts } = facts;
  const gap =
    moves.meanDowntimeMs === undefined ? '' : ` · downtime ${moves.meanDowntimeMs.toFixed(0)} ms on average`;
  const head = [
    paint('bold', title),
    `requests ${rate(facts.requestsPerSecond)}/s · errors ${rate(facts.errorsPerSecond)}/s · launches ${rate(facts.launchesPerSecond)}/s (${facts.launchesEnded} so far)`,
    `VMs         ${counts(facts.instances)}${facts.quarantined > 0 ? ` · IN QUARANTINE ${facts.quarantined}` : ''}`,
    `workflows   ${counts(facts.workflows)}`,
    `migrations  ${moves.count}${gap}${moves.count > 0 ? ` · packets ${counts(moves.packets)}` : ''}`,
    `alarms      ${counts(facts.alarms)}`,
  ];
  const hostRows = hosts.map(({ host, connected, vcpus, memoryMib }) => [
    `${connected ? '✔' : '✘'} ${host}`,
    `${bar(vcpus)} ${vcpus.used}/${vcpus.limit} vCPU`,
    `${bar(memoryMib)} ${Math.round(memoryMib.used)}/${Math.round(memoryMib.limit)} MiB`,
  ]);
  const actionRows = facts.actions
    .slice(0, actionsShown)
    .map((each) => [
      each.name,
      `${rate(each.perSecond)}/s`,
      `errors ${rate(each.errorsPerSecond)}/s`,
      `${each.total}`,
    ]);
  const processRows = facts.processes
    .slice(0, processesShown)
    .map((each) => [
      each.process,
      `${each.cpuPercent.toFixed(1)} %`,
      `${each.memoryMib} MiB`,
      `lag ${each.lagMs} ms`,
    ]);
  return [
    ...head,
    ...section('HOSTS', hostRows),
    ...section('REQUESTS', actionRows),
    ...section('PROCESSES by CPU', processRows),
  ].join('\n');
};

const section = (title: string, rows: readonly (readonly string[])[]): string[] =>
  rows.length === 0 ? [] : ['', paint('bold', title), table(rows)];
