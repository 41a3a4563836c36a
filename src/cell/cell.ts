/** A request processor, put together: what main.ts, tests and benchmarks run. */
import { randomBytes } from 'node:crypto';
import type { Kysely } from 'kysely';
import type { Logger } from '#base/log.ts';
import { migrate } from '#base/postgres/migrate.ts';
import { urgently } from '#base/postgres/patience.ts';
import type { Caller } from '#base/rpc/contract.ts';
import type { regionContract } from '#contracts/region.ts';
import { type CellContext, createEc2Call, type Ec2Call } from './actions/index.ts';
import { type Clock, systemClock } from './clock.ts';
import { HostReports } from './hosts/reports.ts';
import { HostSessions } from './hosts/sessions.ts';
import { VpcStates } from './hosts/vpc-states.ts';
import { type Rhythm, startRhythms } from './housekeeping.ts';
import type { Begun } from './lifecycle.ts';
import * as limits from './limits.ts';
import { createOperator, type Operator } from './operator.ts';
import type { CellIdentity, CellLimits, CellServices } from './services.ts';
import { purgeTokens } from './store/client-tokens.ts';
import type { Oversubscription } from './store/hosts.ts';
import { countInstances, purgeTerminated } from './store/instances.ts';
import { dropLease, renewLease, supersedeLeases } from './store/processors.ts';
import { cellSchema } from './store/schema.ts';
import { sharedSecret } from './store/settings.ts';
import { type CellSchema, type Database, databaseOver } from './store/sql.ts';
import { purgeEnded } from './store/workflows.ts';
import { WorkflowEngine } from './workflow/engine.ts';
import { type Faults, noFaults } from './workflow/faults.ts';
import { workflowDefinitions } from './workflows/index.ts';

export interface CellOptions {
  readonly identity: CellIdentity;
  readonly limits: CellLimits;
  readonly oversubscription: Oversubscription;
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
}

export interface Cell {
  readonly services: CellServices;
  readonly engine: WorkflowEngine<CellServices>;
  readonly reports: HostReports;
  readonly operator: Operator;
  readonly ec2Call: Ec2Call;
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
  const hosts = new HostSessions();
  const vpcs = new VpcStates({ db, region: options.region, hosts, log });
  const services: CellServices = { ...options, db, clock, faults, hosts, vpcs };
  const engine = new WorkflowEngine<CellServices>({
    db,
    owner,
    definitions: workflowDefinitions,
    services,
    clock,
    faults,
    log,
    leaseTtlMs: ttlMs,
  });
  const begun = ({ workflows, cancelled }: Begun): void => {
    engine.start(workflows);
    for (const id of cancelled) engine.cancel(id);
  };
  const reports = new HostReports({ services, owner, begun });
  const stop = new AbortController();
  const health = { at: clock.now(), vms: 0 };
  const renew = async (): Promise<void> => {
    await urgently(() => renewLease(db, owner, identity.processorId, ttlMs));
    health.at = clock.now();
  };
  await supersedeLeases(db, owner, identity.processorId);
  await renew();
  health.vms = await countInstances(db);
  const context: Omit<CellContext, 'request'> = {
    services,
    owner,
    engine,
    begun,
    pageSecret: await sharedSecret(db, 'page-tokens'),
    vms: () => health.vms,
  };
  const rhythms: Rhythm[] = [
    { name: 'lease', everyMs: options.leaseRenewEveryMs ?? limits.leaseRenewEveryMs, turn: renew },
    {
      name: 'take-over',
      everyMs: options.leaseRenewEveryMs ?? limits.leaseRenewEveryMs,
      turn: () => engine.adopt(),
    },
    { name: 'heard', everyMs: limits.heardFlushEveryMs, turn: () => reports.flushHeard() },
    { name: 'network', everyMs: limits.vpcPushTimeoutMs, turn: () => vpcs.retryBehind() },
    { name: 'network-store', everyMs: limits.heardFlushEveryMs, turn: () => vpcs.save() },
    {
      name: 'housekeeping',
      everyMs: limits.housekeepingEveryMs,
      turn: async () => {
        const now = clock.now();
        await purgeTerminated(db, new Date(now - 2 * limits.terminatedVisibleMs));
        await purgeEnded(db, new Date(now - limits.terminatedVisibleMs));
        await purgeTokens(db, new Date(now - limits.clientTokenKeptMs));
        health.vms = await countInstances(db);
      },
    },
  ];
  startRhythms(rhythms, clock, log, stop.signal);
  return {
    services,
    engine,
    reports,
    operator: createOperator({ services, owner, begun }),
    ec2Call: createEc2Call(context),
    ready: () => clock.now() - health.at < 2 * ttlMs,
    stop: async () => {
      stop.abort();
      engine.stop();
      await dropLease(db, owner);
    },
    abandon: () => {
      stop.abort();
      engine.stop();
    },
  };
};
