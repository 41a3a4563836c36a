/** Policies (S8.1): stored before and apart from any change; a version is never changed. */
import { sql } from 'kysely';
import { transact } from '#base/postgres/transaction.ts';
import { PandoError } from '#contracts/errors.ts';
import {
  type ChangeClass,
  changeClass,
  type PolicySpec,
  type PolicyVersion,
} from '#contracts/rollout-policy.ts';
import { checkPolicy, defaultPolicies } from '#rollout/policy.ts';
import type { Database } from '../schema.ts';

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

/** Another version of the policy. @throws what is wrong with it, by name, and nothing is kept. */
export const createPolicy = async (
  db: Database,
  { name, spec, createdBy }: { readonly name: string; readonly spec: PolicySpec; readonly createdBy: string },
): Promise<PolicyVersion> => {
  checkPolicy(spec);
  if (defaults.some((each) => each.name === name))
    throw new PandoError('ResourceAlreadyExists', `${name} is one of Pando's own policies.`);
  return transact(db, async (tx) => {
    // Two at once would take the same version: the second one waits here.
    await sql`select pg_advisory_xact_lock(hashtext(${`rollout_policy ${name}`}))`.execute(tx);
    const { rows } = await sql<PolicyRow>`
      insert into rollout_policy (name, version, spec, created_by)
      select ${name}, coalesce(max(version), 0) + 1, ${JSON.stringify(spec)}, ${createdBy}
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
