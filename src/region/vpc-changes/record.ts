/** Writes down who changes a VPC, in the transaction that changes it: one statement, whatever the change is. */
import { sql } from 'kysely';
import { currentTrace } from '#base/trace.ts';
import type { RegionTransaction } from '../schema.ts';

/** Who asked for a change. */
export interface Author {
  readonly accountId: string;
  /** ARN, or `operator/NAME`. */
  readonly principal?: string | undefined;
  readonly accessKeyId?: string | undefined;
  readonly requestId?: string | undefined;
  readonly action?: string | undefined;
}

export interface RecordedVpc {
  readonly vpcId: string;
  readonly version: number;
  /** Whether devices are told anything. */
  readonly told: boolean;
}

const namedMax = 16;
const depthMax = 4;
const textCharsMax = 256;

export const recordVpcChange = async (
  tx: RegionTransaction,
  author: Author,
  vpcs: readonly RecordedVpc[],
  input: unknown,
): Promise<void> => {
  if (vpcs.length === 0) return;
  const { accountId, principal, accessKeyId, action } = author;
  // What a cell asks for has its client's request in the trace.
  const requestId = author.requestId ?? currentTrace()?.requestId;
  const text = (value: string | undefined): string | null => value?.slice(0, textCharsMax) ?? null;
  await sql`
    insert into vpc_change (vpc_id, version, account_id, principal, access_key_id, request_id, action, named, told)
    select v.vpc_id, v.version, ${accountId}, ${text(principal)}, ${text(accessKeyId)}, ${text(requestId)},
      ${text(action)}, ${[...idsIn(input)]}::text[], v.told
    from unnest(${vpcs.map(({ vpcId }) => vpcId)}::text[], ${vpcs.map(({ version }) => version)}::int[],
      ${vpcs.map(({ told }) => told)}::boolean[]) as v (vpc_id, version, told)`.execute(tx);
};

/** Ids of resources anywhere in a request's input, a bounded number of them. */
export const idsIn = (input: unknown, found: Set<string> = new Set(), depth = 0): ReadonlySet<string> => {
  if (found.size >= namedMax) return found;
  if (typeof input === 'string') {
    if (/^[a-z]{1,12}-[0-9a-f]{8,17}$/.test(input)) found.add(input);
  } else if (typeof input === 'object' && input !== null && depth < depthMax)
    for (const value of Object.values(input)) idsIn(value, found, depth + 1);
  return found;
};
