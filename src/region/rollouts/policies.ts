/** Policies (S8.1): stored before and apart from any change; a version is never changed. */
import { sql } from 'kysely';
import { transact } from '#base/postgres/transaction.ts';
import { canonicalJson } from '#contracts/canonicalJson.ts';
import { PandoError } from '#contracts/errors.ts';
import {
  type ChangeClass,
  changeClass,
  type PolicySpec,
  type PolicyVersion,
} from '#contracts/rollout-policy.ts';
import { checkPolicy, defaultPolicies } from '#rollout/policy.ts';
import type { Database, RegionTransaction } from '../schema.ts';

const versionsMax = 1_000;

interface PolicyRow {
  name: string;
  version: number;
  spec: PolicySpec;
  created_by: string;
  created_at: Date;
}

const viewOf = ({ name, version, spec, created_by, created_at }: PolicyRow): PolicyVersion => ({
  ...{ name, version, spec, createdBy: created_by, createdAt: created_at.toISOString() },
});

/** The policy of who names none; its name is that of the class. */
const defaultPolicy = (name: ChangeClass): PolicyVersion => ({
  ...{ name: `default-${name}`, version: 1, spec: defaultPolicies[name] },
  ...{ createdBy: 'pando', createdAt: new Date(0).toISOString() },
});

const defaults = changeClass.options.map(defaultPolicy);

interface NewPolicy {
  readonly name: string;
  readonly spec: PolicySpec;
  readonly createdBy: string;
  readonly clientToken?: string | undefined;
}

/** Another version of the policy. @throws what is wrong with it, by name, and nothing is kept. */
export const createPolicy = async (
  db: Database,
  { name, spec, createdBy, clientToken }: NewPolicy,
): Promise<PolicyVersion> => {
  checkPolicy(spec);
  if (defaults.some((each) => each.name === name))
    throw new PandoError('ResourceAlreadyExists', `${name} is one of Pando's own policies.`);
  return transact(db, async (tx) => {
    // Two at once would take the same version, or use one token for two: the second one waits here.
    if (clientToken !== undefined)
      await sql`select pg_advisory_xact_lock(hashtext(${`rollout_policy token ${clientToken}`}))`.execute(tx);
    await sql`select pg_advisory_xact_lock(hashtext(${`rollout_policy ${name}`}))`.execute(tx);
    const known = clientToken === undefined ? undefined : await madeUnder(tx, clientToken);
    if (known !== undefined) {
      if (known.name === name && canonicalJson(known.spec) === canonicalJson(spec)) return viewOf(known);
      throw tokenMismatch(clientToken);
    }
    const { rows } = await sql<PolicyRow>`
      insert into rollout_policy (name, version, spec, created_by, client_token)
      select ${name}, coalesce(max(version), 0) + 1, ${JSON.stringify(spec)}, ${createdBy}, ${clientToken ?? null}
      from rollout_policy where name = ${name} having coalesce(max(version), 0) < ${versionsMax}
      returning *`.execute(tx);
    const [row] = rows;
    if (row === undefined)
      throw new PandoError(
        'InvalidParameterValue',
        `${name} has ${versionsMax} versions: take another name.`,
      );
    return viewOf(row);
  });
};

const madeUnder = async (tx: RegionTransaction, clientToken: string): Promise<PolicyRow | undefined> =>
  (await sql<PolicyRow>`select * from rollout_policy where client_token = ${clientToken}`.execute(tx))
    .rows[0];

/** The same token for something else: one of the two was not meant. */
export const tokenMismatch = (clientToken: string | undefined): PandoError =>
  new PandoError(
    'IdempotentParameterMismatch',
    `The client token ${clientToken} was used for another request already.`,
  );

/** A page in the order of names, or of versions of one name, the newest first. `next`: there are more. */
export const pageOfPolicies = async (
  db: Database,
  {
    name,
    after,
    limit,
  }: { name?: string | undefined; after?: string | undefined; limit?: number | undefined },
): Promise<{ policies: PolicyVersion[]; next?: string }> => {
  const all = await listPolicies(db, name);
  const keyOf = ({ name: each, version }: PolicyVersion): string =>
    name === undefined ? each : String(version);
  const sorted = name === undefined ? all.sort((a, b) => (a.name < b.name ? -1 : 1)) : all;
  const from = after === undefined ? 0 : sorted.findIndex((each) => keyOf(each) === after) + 1;
  if (after !== undefined && from === 0)
    throw new PandoError('InvalidPaginationToken', `${after} is the next of no page.`);
  const policies = sorted.slice(from, from + (limit ?? sorted.length));
  const last = policies.at(-1);
  const hasMore = from + policies.length < sorted.length;
  return { policies, ...(hasMore && last !== undefined && { next: keyOf(last) }) };
};

export const listPolicies = async (db: Database, name: string | undefined): Promise<PolicyVersion[]> => {
  const { rows } =
    name === undefined
      ? await sql<PolicyRow>`select distinct on (name) * from rollout_policy order by name, version desc`.execute(
          db,
        )
      : await sql<PolicyRow>`select * from rollout_policy where name = ${name} order by version desc`.execute(
          db,
        );
  const own = defaults.filter((each) => name === undefined || each.name === name);
  const policies = [...own, ...rows.map(viewOf)];
  if (name !== undefined && policies.length === 0) throw notFound(name, undefined);
  return policies;
};

/** The policy that a change names, else its class's. @throws NotFound */
export const findPolicy = async (
  db: Database,
  named: { readonly name: string; readonly version?: number | undefined } | undefined,
  ofClass: ChangeClass,
): Promise<PolicyVersion> => {
  if (named === undefined) return defaultPolicy(ofClass);
  const policies = await listPolicies(db, named.name);
  const found = policies.find(({ version }) => named.version === undefined || version === named.version);
  if (found === undefined) throw notFound(named.name, named.version);
  return found;
};

const notFound = (name: string, version: number | undefined): PandoError =>
  new PandoError(
    'NotFound',
    `There is no policy ${name}${version === undefined ? '' : ` in version ${version}`}. pando policy list shows those there are.`,
  );
