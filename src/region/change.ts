/** Changes: one transaction each, devices told before the caller is answered. */
import { sql } from 'kysely';
import { transact } from '#base/postgres/transaction.ts';
import { PandoError } from '#contracts/errors.ts';
import { parseId } from '#contracts/ids.ts';
import { endDryRun } from '#wire/dryRun.ts';
import type { ActionContext } from './context.ts';
import { notFound } from './not-found.ts';
import type { RegionTransaction, Row } from './schema.ts';
import { type Author, recordVpcChange } from './vpc-changes/record.ts';

/** Who changes what: all that a change needs of its context. */
export type Actor = Pick<ActionContext, 'region' | 'accountId'> & Author;

interface DryRunInput {
  readonly DryRun?: boolean | undefined;
}

/** Runs `work` in a transaction. With DryRun, everything is tried and nothing is kept. */
export const change = <T>(
  context: Actor,
  input: DryRunInput,
  work: (tx: RegionTransaction) => Promise<T>,
): Promise<T> =>
  transact(context.region.db, async (tx) => {
    const result = await work(tx);
    endDryRun(input);
    return result;
  });

/**
 * Changes a VPC of the caller. Its row is locked first: changes of one VPC happen one after another, so what `work` checks
 * stays true until it commits. Its version grows in the same transaction, and devices have the new state (or the bounded
 * wait is over) when this returns.
 */
export const changeVpc = <T>(
  context: Actor,
  input: DryRunInput,
  vpcId: string,
  work: (tx: RegionTransaction, vpc: Row<'vpc'>) => Promise<T>,
  matters?: Matters,
): Promise<T> =>
  changeVpcs(
    context,
    input,
    [vpcId],
    async (tx, [vpc]) => {
      if (vpc === undefined) throw notFound('vpc', vpcId);
      return work(tx, vpc);
    },
    matters,
  );

/** Whether devices are told of a change at all; asked at its end, inside its transaction. Default: always. */
export type Matters = (tx: RegionTransaction) => Promise<boolean>;

/** {@link changeVpc} for several, locked in one order, so that two such changes cannot wait for each other. */
export const changeVpcs = async <T>(
  context: Actor,
  input: DryRunInput,
  vpcIds: readonly string[],
  work: (tx: RegionTransaction, vpcs: readonly Row<'vpc'>[]) => Promise<T>,
  matters: Matters = async () => true,
): Promise<T> => {
  const { result, told } = await transact(context.region.db, async (tx) => {
    const vpcs: Row<'vpc'>[] = [];
    for (const vpcId of [...new Set(vpcIds)].sort()) vpcs.push(await lockVpc(tx, context.accountId, vpcId));
    const outcome = await work(tx, vpcs);
    endDryRun(input);
    const isTold = await matters(tx);
    await recordVpcChange(
      tx,
      context,
      vpcs.map(({ vpc_id: vpcId, version, ports }) => ({
        ...{ vpcId, version: isTold ? version : version - 1, told: isTold && ports > 0 },
      })),
      input,
    );
    if (!isTold) {
      // The state that devices are told is the same: it keeps its version, and nobody is told anything.
      for (const { vpc_id } of vpcs)
        await sql`update vpc set version = version - 1 where vpc_id = ${vpc_id}`.execute(tx);
      return { result: outcome, told: [] };
    }
    // A VPC without interfaces is on no device.
    return { result: outcome, told: vpcs.filter((vpc) => vpc.ports > 0) };
  });
  const { enforced, pusher } = context.region;
  for (const { vpc_id, version } of told) enforced.expect(vpc_id, version);
  await Promise.all(told.map(({ vpc_id }) => pusher.push(vpc_id)));
  return result;
};

/** Locks a VPC of the account and raises its version. */
export const lockVpc = async (
  tx: RegionTransaction,
  accountId: string,
  vpcId: string,
): Promise<Row<'vpc'>> => {
  const vpc = await tx
    .updateTable('vpc')
    .set((row) => ({ version: row('version', '+', 1) }))
    .where('vpc_id', '=', parseId('vpc', vpcId))
    .where('account_id', '=', accountId)
    .returningAll()
    .executeTakeFirst();
  if (vpc === undefined) throw notFound('vpc', vpcId);
  return vpc;
};

/**
 * Counts of an account's resources are checked under a lock on the account: without it, two creates at once could both
 * see room for one.
 */
export const lockAccount = async (tx: RegionTransaction, accountId: string): Promise<void> => {
  await sql`select 1 from account where account_id = ${accountId} for no key update`.execute(tx);
};

export const dependencyViolation = (what: string): PandoError =>
  new PandoError('DependencyViolation', `${what} has dependencies and cannot be deleted.`);
