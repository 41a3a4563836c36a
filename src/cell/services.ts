/** What workflows, reconcilers and actions of a cell may reach. */
import type { Logger } from '#base/log.ts';
import type { Caller } from '#base/rpc/contract.ts';
import type { regionContract } from '#contracts/region.ts';
import type { Amount } from '#slots/amount.ts';
import type { Capacity } from './capacity/capacity.ts';
import type { Clock } from './clock.ts';
import type { HostSessions } from './hosts/sessions.ts';
import type { UsageBook } from './hosts/usage.ts';
import type { VpcStates } from './hosts/vpc-states.ts';
import type { HostManifest, PowerControl } from './reconfiguration/power.ts';
import type { Oversubscription } from './store/hosts.ts';
import type { Database } from './store/sql.ts';
import type { WorkflowRow } from './store/workflows.ts';
import type { Faults } from './workflow/faults.ts';

export interface CellIdentity {
  readonly cellId: string;
  /** First digits of the cell's ids (S3.4). */
  readonly cellNumber: number;
  readonly processorId: string;
  readonly zone: string;
  readonly region: string;
}

export interface CellLimits {
  readonly hosts: number;
  readonly vms: number;
}

/** Workflows that a step begins beside its own. */
export interface WorkflowStarts {
  /** This life of this processor. */
  readonly owner: string;
  start(rows: readonly WorkflowRow[]): void;
}

export interface CellServices {
  readonly identity: CellIdentity;
  readonly limits: CellLimits;
  readonly oversubscription: Oversubscription;
  /** What each host keeps for itself. */
  readonly reserve: Amount;
  readonly db: Database;
  readonly region: Caller<typeof regionContract>;
  readonly hosts: HostSessions;
  readonly vpcs: VpcStates;
  readonly capacity: Capacity;
  /** What VMs have used lately. */
  readonly usage: UsageBook;
  readonly clock: Clock;
  readonly faults: Faults;
  readonly starts: WorkflowStarts;
  /** What hosts shall run; absent parts: whatever they have. */
  readonly hostManifest?: HostManifest | undefined;
  /** Turns machines off and on from outside; absent: their processes begin anew instead. */
  readonly power?: PowerControl | undefined;
  readonly log: Logger;
}
