/** The one statement by which an instance gets its interface. */
import { randomBytes } from 'node:crypto';
import { newId } from '#contracts/ids.ts';
import type { IdentityClaims } from '#contracts/metadata.ts';
import { portsPerVpcMax } from '#contracts/network.ts';
import type { ValidTag } from '#wire/tags.ts';
import type { InterfaceRow } from './interface-view.ts';
import type { Database, Row } from './schema.ts';
import { statement } from './statement.ts';

/** A locally administered unicast MAC: 40 random bits; the table's constraint makes them unique. */
const newMac = (): string => ['02', ...(randomBytes(5).toString('hex').match(/../g) ?? [])].join(':');

export interface AllocateRequest {
  readonly accountId: string;
  readonly instanceId: string;
  readonly subnetId: string;
  readonly groupIds: readonly string[];
  readonly privateIp?: string | undefined;
  readonly publicIp: boolean;
  readonly description?: string | undefined;
  readonly tags?: readonly ValidTag[] | undefined;
  readonly placementGroupId?: string | undefined;
  readonly identity?: IdentityClaims | undefined;
  readonly instanceProfileId?: string | undefined;
  /** What EC2 shows of it is wanted too. */
  readonly shown?: boolean | undefined;
}

/** An interface with its public address and its zone. */
export type PlacedEni = Omit<Row<'eni'>, 'created_at'> & {
  readonly public_ip: string | null;
  readonly zone: string;
};

/** The same out of JSON with all that is shown of it. */
export type ShownEni = Omit<InterfaceRow, 'created_at'> & { readonly created_at: string };

export interface TriedShown extends Tried {
  readonly shown?: ShownEni;
}

export interface Tried {
  /** Of `allocate_interface`; `retry`: nothing was done. */
  readonly status: string;
  /** Where the instance has one. */
  readonly eni: PlacedEni | null;
}

export interface Attempt {
  readonly host: number | null;
  readonly eniId: string;
  readonly takeResting: boolean;
}

const attemptParameters =
  '$1, $2, $3, $4::text[], $5::int, $6::boolean, $7, $8, $9, $10, $11::int, $12::boolean';
const allocatePort = statement<{ status: string; port: PlacedEni | null }>(
  `select status, port from allocate_interface_port(${attemptParameters})`,
);
const allocateShown = statement<{ status: string; port: ShownEni | null }>(
  `select status, port from allocate_interface_shown(${attemptParameters})`,
);

const attemptOf = (request: AllocateRequest, { host, eniId, takeResting }: Attempt): readonly unknown[] => [
  ...[request.accountId, request.instanceId, request.subnetId, [...new Set(request.groupIds)], host],
  ...[request.publicIp, eniId, newId('interfaceAttachment'), newMac(), newId('addressAssociation')],
  ...[portsPerVpcMax, takeResting],
];

export const runAllocate = async (
  db: Database,
  request: AllocateRequest,
  attempt: Attempt,
): Promise<Tried> => {
  const [{ status = 'retry', port = null } = {}] = await allocatePort(db, ...attemptOf(request, attempt));
  return { status, eni: port };
};

export const runAllocateShown = async (
  db: Database,
  request: AllocateRequest,
  attempt: Attempt,
): Promise<TriedShown> => {
  const [{ status = 'retry', port = null } = {}] = await allocateShown(db, ...attemptOf(request, attempt));
  return { status, eni: port, ...(port === null ? {} : { shown: port }) };
};
