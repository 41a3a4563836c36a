/** A request processor, put together: what main.ts, tests and benchmarks run. */
import { randomBytes } from 'node:crypto';
import type { Kysely } from 'kysely';
import type { Logger } from '#base/log.ts';
import { migrate } from '#base/postgres/migrate.ts';
import { urgently } from '#base/postgres/patience.ts';
import type { Caller } from '#base/rpc/contract.ts';
import { newCellId } from '#contracts/ids.ts';
import type { regionContract } from '#contracts/region.ts';
import { type Amount, nothing } from '#slots/amount.ts';
import { noteAccounts } from './account-notes.ts';
import { type CellContext, createEc2Call, type Ec2Call } from './actions/index.ts';
import { sizeLaunch } from './actions/run-instances.ts';
import { AdoptionGate } from './adoption.ts';
import { Capacity } from './capacity/capacity.ts';
import { Mending } from './capacity/mending.ts';
import { ClaimsUpkeep, keepGroups } from './capacity/upkeep.ts';
import { type Clock, systemClock } from './clock.ts';
import { CommandLease, leasedRegion } from './command-lease.ts';
import { FillWatch } from './contents.ts';
import { MetadataRefresh } from './hosts/metadata.ts';
import { hostResource, namedRegion } from './hosts/reach.ts';
import { HostReports } from './hosts/reports.ts';
import { HostSessions } from './hosts/sessions.ts';
import { UsageBook } from './hosts/usage.ts';
import { VpcStates } from './hosts/vpc-states.ts';
import type { Begun } from './lifecycle.ts';
import * as limits from './limits.ts';
import { tellFigures } from './metrics.ts';
import { type CapacityCall, openNotices, type WebhooksOptions } from './notices/notices.ts';
import { createOperator, type Operator } from './operator.ts';
import { type PeriodicTask, startPeriodicTasks } from './periodic-tasks.ts';
import { Pools, type PoolTimes } from './reconfiguration/pools.ts';
import { ReservationUpkeep } from './reservations/upkeep.ts';
import type { CellIdentity, CellLimits, CellServices } from './services.ts';
import { purgeTokens } from './store/client-tokens.ts';
import { purgeConsoles } from './store/consoles.ts';
import { purgeHealth } from './store/health.ts';
import type { Oversubscription } from './store/hosts.ts';
import { purgeInstanceEvents } from './store/instance-events.ts';
import { fadeAll } from './store/instance-lists.ts';
import { countInstances, purgeTerminated } from './store/instances.ts';
import { dropLease, renewLease, supersedeLeases } from './store/processors.ts';
import { cellSchema } from './store/schema.ts';
import { sharedSecret } from './store/settings.ts';
import { type CellSchema, type Database, databaseOver } from './store/sql.ts';
import { purgeEnded } from './store/workflows.ts';
import type { ErasedDefinition } from './workflow/definition.ts';
import { WorkflowEngine } from './workflow/engine.ts';
import { type Faults, noFaults } from './workflow/faults.ts';
import type { EngineTiming } from './workflow/timing.ts';
import { workflowDefinitions } from './workflows/index.ts';

export interface CellOptions {
  readonly identity: CellIdentity;
  readonly limits: CellLimits;
  readonly oversubscription: Oversubscription;
  /** What each host keeps for itself; default: nothing. */
  readonly reserve?: Amount;
  /** Opened by the caller, who closes it after `stop`. */
  readonly database: Kysely<CellSchema>;
  readonly region: Caller<typeof regionContract>;
  readonly log: Logger;
  readonly clock?: Clock;
  readonly faults?: Faults;
  /** Tests put a gate around the store here. */
  wrapDatabase?(db: Database): Database;
  readonly leaseTtlMs?: number;
  readonly leaseRenewEveryMs?: number;
  readonly adoptionGraceMs?: number;
  readonly hostManifest?: CellServices['hostManifest'];
  readonly power?: CellServices['power'];
  /** How pools change hosts; default: as the limits say. */
  readonly pools?: Partial<PoolTimes>;
  readonly timing?: Partial<EngineTiming>;
  /** Hears a channel of the store (`LISTEN`); absent: what it would tell is found once a second. Returns what ends it. */
  listenStore?(channel: string, heard: () => void): () => void;
  /** How webhooks are sent; absent: none are. */
  readonly webhooks?: WebhooksOptions;
  /** Tests run tables of their own beside these. */
  readonly definitions?: readonly ErasedDefinition<CellServices>[];
}

export interface Cell {
  /** Names this life of the processor in leases and workflows. */
  readonly owner: string;
  readonly services: CellServices;
  readonly engine: WorkflowEngine<CellServices>;
  readonly reports: HostReports;
  readonly operator: Operator;
  readonly pools: Pools;
  readonly ec2Call: Ec2Call;
  readonly capacityCall: CapacityCall;
  /** Whether a limit of the cell nears, by the last look (S3.7). */
  nearlyFull(): boolean;
  /** Whether the store answered lately. */
  ready(): boolean;
  /** Stops between steps and gives up the lease; another processor goes on. */
  stop(): Promise<void>;
  /** Stops dead, as a kill does: no lease is given up, nothing more is written. For tests. */
  abandon(): void;
}

/** Brings the store up to date, takes a lease and begins to work. */
export const createCell = async (options: CellOptions): Promise<Cell> => {
  const clock = options.clock ?? systemClock;
  const faults = options.faults ?? noFaults;
  const { identity, log } = options;
  await migrate(options.database, cellSchema);
  const plain = databaseOver(options.database);
  const db = options.wrapDatabase?.(plain) ?? plain;
  // A life of a processor is an owner of its own: what an earlier life left is taken over like anybody's.
  const owner = `${identity.processorId}/${randomBytes(6).toString('hex')}`;
  const ttlMs = options.leaseTtlMs ?? limits.leaseTtlMs;
  const lease = new CommandLease();
  const hosts = new HostSessions(lease);
  const region = leasedRegion(namedRegion(options.region), lease);
  const vpcs = new VpcStates({ db, cellId: identity.cellId, region, hosts, log });
  const capacity = new Capacity({ db, hosts, clock });
  const upkeep = new ClaimsUpkeep({ db, log });
  const services: CellServices = {
    reserve: nothing,
    ...options,
    region,
    db,
    clock,
    faults,
    hosts,
    vpcs,
    capacity,
    usage: new UsageBook(),
    starts: { owner, start: (rows) => engine.start(rows) },
  };
  const reservations = new ReservationUpkeep(services);
  const { adoptionGraceMs } = options;
  const gate = await AdoptionGate.open({
    ...{ db, hosts, clock },
    ...(adoptionGraceMs === undefined ? {} : { graceMs: adoptionGraceMs }),
  });
  const engine = new WorkflowEngine<CellServices>({
    db,
    owner,
    definitions: options.definitions ?? workflowDefinitions,
    services,
    clock,
    faults,
    log,
    newWorkflowId: () => newCellId('workflow', identity.cellNumber),
    reached: () => hosts.resources(),
    mayAdopt: () => gate.open,
    ...(options.timing === undefined ? {} : { timing: options.timing }),
    leaseTtlMs: ttlMs,
  });
  // A moment later: a host serves calls only once its hello is answered.
  hosts.onAttach = (hostId) => setImmediate(() => engine.reached(hostResource(hostId)));
  const health = { at: clock.monotonicMs(), vms: 0 };
  const begun = ({ workflows, cancelled }: Begun): void => {
    // Until the next count: the limit holds also for many launches at once.
    health.vms += workflows.filter(({ kind }) => kind === 'launch').length;
    engine.start(workflows);
    for (const id of cancelled) engine.cancel(id);
  };
  const reports = new HostReports({ services, owner, begun });
  const mending = new Mending({ services, owner, begun });
  const metadata = new MetadataRefresh(services);
  const pools = new Pools({ services, owner, begun, ...options.pools });
  const fill = new FillWatch(services);
  const stop = new AbortController();
  const renew = async (): Promise<void> => {
    const askedAt = lease.now();
    const awayMs = await urgently(() => renewLease(db, owner, identity.processorId, ttlMs));
    await lease.settleDoubt(awayMs, () => engine.lost());
    lease.renewed(askedAt, ttlMs);
    health.at = clock.monotonicMs();
  };
  await supersedeLeases(db, owner, identity.processorId);
  await renew();
  health.vms = await countInstances(db);
  const notices = await openNotices({
    ...{ services, owner },
    sized: (input, request) => sizeLaunch(input, { ...context, request }),
    demand: (type, count) => pools.demand(type, count),
    ...(options.listenStore === undefined ? {} : { listenStore: options.listenStore }),
    webhooks: options.webhooks,
  });
  const context: Omit<CellContext, 'request'> = {
    services,
    owner,
    engine,
    begun,
    metadataChanged: () => metadata.hint(),
    pageSecret: await sharedSecret(db, 'page-tokens'),
    offers: notices.offers,
    vms: () => health.vms,
  };
  const tasks: PeriodicTask[] = [
    { name: 'lease', everyMs: options.leaseRenewEveryMs ?? limits.leaseRenewEveryMs, turn: renew },
    {
      name: 'take-over',
      everyMs: options.leaseRenewEveryMs ?? limits.leaseRenewEveryMs,
      turn: () => engine.adopt(),
    },
    { name: 'alarms', everyMs: limits.alarmEveryMs, turn: () => engine.alarm() },
    { name: 'heard', everyMs: limits.heardFlushEveryMs, turn: () => reports.flushHeard() },
    {
      name: 'capacity',
      everyMs: limits.capacityRefreshEveryMs,
      turn: async () => {
        await capacity.refresh();
        capacity.publishDemand();
      },
    },
    ...notices.tasks,
    { name: 'claims-expiry', everyMs: limits.claimsSweepEveryMs, turn: () => upkeep.sweep() },
    {
      name: 'reservations',
      everyMs: limits.reservationsEveryMs,
      turn: () => reservations.turn(),
    },
    { name: 'reservations-ended', everyMs: limits.housekeepingEveryMs, turn: () => reservations.purge() },
    { name: 'claims-check', everyMs: limits.claimsCheckEveryMs, turn: () => upkeep.check() },
    { name: 'pools', everyMs: limits.poolsEveryMs, turn: () => pools.turn() },
    { name: 'placement-groups', everyMs: limits.claimsCheckEveryMs, turn: () => keepGroups(db, region) },
    { name: 'mending', everyMs: limits.mendingEveryMs, turn: () => mending.turn() },
    { name: 'accounts', everyMs: limits.accountNotesEveryMs, turn: () => noteAccounts(services) },
    {
      name: 'fill',
      everyMs: limits.fillLookEveryMs,
      turn: async () => {
        health.vms = (await fill.look()).vms;
      },
    },
    { name: 'network', everyMs: limits.vpcPushTimeoutMs, turn: () => vpcs.retryBehind() },
    { name: 'metadata', everyMs: limits.metadataEveryMs, turn: () => metadata.turn() },
    { name: 'network-store', everyMs: limits.heardFlushEveryMs, turn: () => vpcs.save() },
    {
      name: 'housekeeping',
      everyMs: limits.housekeepingEveryMs,
      turn: async () => {
        const now = clock.now();
        await fadeAll(db, new Date(now - limits.terminatedVisibleMs));
        await purgeTerminated(db, new Date(now - 2 * limits.terminatedVisibleMs));
        await purgeEnded(db, new Date(now - limits.terminatedVisibleMs));
        await purgeHealth(db);
        await purgeInstanceEvents(db);
        await purgeConsoles(db, new Date(now - limits.terminatedVisibleMs));
        await purgeTokens(db, new Date(now - limits.clientTokenKeptMs));
        health.vms = await countInstances(db);
      },
    },
  ];
  startPeriodicTasks(tasks, clock, log, stop.signal);
  engine.watch();
  const untell = tellFigures({
    db,
    hosts,
    slots: () => engine.slots,
    quarantined: () => reports.quarantined,
  });
  return {
    owner,
    services,
    engine,
    reports,
    operator: createOperator({ services, owner, engine, begun, pools }),
    pools,
    ec2Call: createEc2Call(context),
    capacityCall: notices.call,
    nearlyFull: () => fill.near,
    ready: () => clock.monotonicMs() - health.at < 2 * ttlMs,
    stop: async () => {
      untell();
      notices.close();
      stop.abort();
      engine.stop();
      await dropLease(db, owner);
    },
    abandon: () => {
      untell();
      notices.close();
      stop.abort();
      engine.stop();
    },
  };
};
