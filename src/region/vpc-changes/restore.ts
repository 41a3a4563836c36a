/**
 * Puts a former version of a tenant's object back (S8.6). The owner's tables are what devices are told by, so the tables are changed, under the
 * VPC's lock and with a record like any change; rules and routes that are in both versions stay as they are, with their ids and tags.
 */
import { sql } from 'kysely';
import { canonicalJson } from '#contracts/canonicalJson.ts';
import { PandoError } from '#contracts/errors.ts';
import { newId } from '#contracts/ids.ts';
import type { SecurityRule } from '#contracts/network.ts';
import { type ObjectKind, securityGroupBody, subnetBody, vpcBody } from '#contracts/network-objects.ts';
import { changeVpc } from '../change.ts';
import { ruleOf } from '../group-rules.ts';
import type { NetworkSettings } from '../network-state.ts';
import type { Region } from '../region.ts';
import { deleteTagsOf } from '../resource-tags.ts';
import type { Database, RegionTransaction, Row } from '../schema.ts';
import { checkVpcBudget } from '../vpc-budget.ts';
import { restoreRoutes } from './restoreRoutes.ts';
import { restoreSettings } from './restoreSettings.ts';

export interface RestoreRequest {
  readonly kind: ObjectKind;
  readonly id: string;
  readonly version: number | string;
  readonly dryRun: boolean;
  /** `operator/NAME`. */
  readonly who: string;
  readonly requestId: string;
}

export interface Restored {
  readonly vpcId: string;
  readonly lines: string[];
}

const versionsShownMax = 100;

export const tenantVersions = async (db: Database, { kind, id }: { kind: string; id: string }) => {
  const { rows } = await sql<{
    version: number;
    digest: string;
    made_at: Date;
    devices: number;
    body: unknown;
  }>`
    select version, digest, made_at, body, (select count(*)::int from device_object d
      where d.kind = o.kind and d.id = o.id and d.digest = o.digest) as devices
    from network_object o where kind = ${kind} and id = ${id} and vpc_id is not null
    order by version desc limit ${versionsShownMax}`.execute(db);
  return rows.map(({ made_at, ...row }) => ({ ...row, madeAt: made_at.toISOString() }));
};

/** @throws as `operator.restoreObject` says */
export const restoreObject = async (region: Region, request: RestoreRequest): Promise<Restored> => {
  const { kind, id, version, dryRun } = request;
  const restorer = restorers[kind];
  if (typeof restorer === 'string')
    throw new PandoError('UnsupportedOperation', `A ${kind} is not put back: ${restorer}`);
  const versions = await tenantVersions(region.db, { kind, id });
  const former = versions.find((each) => each.version === version || each.digest === version);
  if (former === undefined)
    throw new PandoError(
      'NotFound',
      versions.length === 0
        ? `Nothing is kept of ${kind}/${id}: no device was ever told it.`
        : `Version ${version} of ${kind}/${id} is not kept. There are: ${versions.map((each) => each.version).join(' ')}`,
    );
  const owner = await ownerOf(region.db, restorer.table, restorer.key, id);
  if (owner === undefined) throw new PandoError('NotFound', `${id} is there no more: it cannot be put back.`);
  const { accountId, vpcId } = owner;
  const actor = { region, accountId, principal: request.who, requestId: request.requestId };
  let lines: string[] = [];
  const { network } = region;
  const work = async (tx: RegionTransaction, vpc: Row<'vpc'>): Promise<void> => {
    lines = await restorer.restore(tx, { id, vpc, version: former.version, body: former.body, network });
    if (lines.length > 0) await checkVpcBudget(tx, vpcId, 'RouteLimitExceeded');
    if (lines.length === 0) throw new PandoError('IncorrectState', `${id} is so now.`);
    if (dryRun) throw new DryRun();
  };
  const input = { DryRun: false, id };
  await changeVpc({ ...actor, action: 'operator.restoreObject' }, input, vpcId, work).catch(
    (error: unknown) => {
      if (!(error instanceof DryRun)) throw error;
    },
  );
  return { vpcId, lines };
};

/** Takes back what was tried. */
class DryRun extends Error {}

interface Former {
  readonly id: string;
  /** As it is now, locked. */
  readonly vpc: Row<'vpc'>;
  /** Of the VPC, at which devices were told `body`. */
  readonly version: number;
  readonly body: unknown;
  readonly network: NetworkSettings;
}

interface Restorer {
  readonly table: string;
  readonly key: string;
  /** Answers what goes and comes; empty: it is so now. @throws IncorrectState, or EC2's error of the call that would do it */
  restore(tx: RegionTransaction, former: Former): Promise<string[]>;
}

/** What puts a kind back; for the others the way back, in words. */
const restorers: Readonly<Record<ObjectKind, Restorer | string>> = {
  vpc: {
    ...{ table: 'vpc', key: 'vpc_id' },
    restore: (tx, { body, ...former }) => restoreSettings(tx, { ...former, body: vpcBody.parse(body) }),
  },
  'security-group': {
    ...{ table: 'security_group', key: 'group_id' },
    restore: (tx, { id, vpc, body }) => restoreRules(tx, id, vpc.vpc_id, securityGroupBody.parse(body)),
  },
  subnet: {
    ...{ table: 'subnet', key: 'subnet_id' },
    restore: (tx, { id, vpc, version, body }) =>
      restoreRoutes(tx, { subnetId: id, vpcId: vpc.vpc_id, version, former: subnetBody.parse(body).routes }),
  },
  'network-acl': 'a VPC has its default one alone, and no call changes that.',
  gateway:
    'what is attached, and which address is whose, are places, not versions. Call the opposite: DetachInternetGateway, DisassociateAddress; the record of changes has the ids (rollout audit --vpc).',
  fleet: 'it is the installation’s own: a rollout takes it back (rollout start).',
};

const ownerOf = async (
  db: Database,
  table: string,
  key: string,
  id: string,
): Promise<{ accountId: string; vpcId: string } | undefined> =>
  (
    await sql<{ accountId: string; vpcId: string }>`select account_id as "accountId", vpc_id as "vpcId"
      from ${sql.table(table)} where ${sql.ref(key)} = ${id}`.execute(db)
  ).rows[0];

interface StoredRule {
  ruleId: string;
  egress: boolean;
  protocol: string;
  fromPort: number | null;
  toPort: number | null;
  cidr: string | null;
  peer: string | null;
}

const keyOf = (egress: boolean, rule: SecurityRule): string =>
  `${egress ? 'egress' : 'ingress'} ${canonicalJson(rule)}`;

const restoreRules = async (
  tx: RegionTransaction,
  id: string,
  vpcId: string,
  former: { readonly ingress: readonly SecurityRule[]; readonly egress: readonly SecurityRule[] },
): Promise<string[]> => {
  const present = await storedRules(tx, id);
  const wanted = [
    ...former.ingress.map((rule) => ({ egress: false, rule })),
    ...former.egress.map((rule) => ({ egress: true, rule })),
  ];
  const wantedKeys = new Set(wanted.map(({ egress, rule }) => keyOf(egress, rule)));
  const presentKeys = new Set(present.map((each) => keyOf(each.egress, ruleOf(each))));
  const gone = present.filter((each) => !wantedKeys.has(keyOf(each.egress, ruleOf(each))));
  const added = wanted.filter(({ egress, rule }) => !presentKeys.has(keyOf(egress, rule)));
  await checkPeers(tx, vpcId, added);
  await removeRules(tx, gone);
  await insertRules(tx, id, added);
  await sql`update security_group set revision = gen_random_uuid() where group_id = ${id}`.execute(tx);
  return [
    ...gone.map((each) => `- ${keyOf(each.egress, ruleOf(each))}`),
    ...added.map(({ egress, rule }) => `+ ${keyOf(egress, rule)}`),
  ];
};

const storedRules = async (tx: RegionTransaction, groupId: string): Promise<StoredRule[]> =>
  (
    await sql<StoredRule>`
      select rule_id as "ruleId", egress, protocol, from_port as "fromPort", to_port as "toPort", cidr,
        referenced_group_id as peer
      from security_group_rule where group_id = ${groupId} order by rule_id`.execute(tx)
  ).rows;

const checkPeers = async (
  tx: RegionTransaction,
  vpcId: string,
  added: readonly { readonly rule: SecurityRule }[],
): Promise<void> => {
  const peers = [...new Set(added.flatMap(({ rule }) => rule.groupId ?? []))];
  const { rows } = await sql<{ group_id: string }>`
    select group_id from security_group where vpc_id = ${vpcId} and group_id = any(${peers}::text[])`.execute(
    tx,
  );
  const found = new Set(rows.map((row) => row.group_id));
  const missing = peers.find((peer) => !found.has(peer));
  if (missing !== undefined)
    throw new PandoError('IncorrectState', `A rule refers to ${missing}, which is there no more.`);
};

const removeRules = async (tx: RegionTransaction, gone: readonly StoredRule[]): Promise<void> => {
  const ids = gone.map(({ ruleId }) => ruleId);
  if (ids.length === 0) return;
  await sql`delete from security_group_rule where rule_id = any(${ids}::text[])`.execute(tx);
  await deleteTagsOf(tx, ...ids);
};

const insertRules = async (
  tx: RegionTransaction,
  groupId: string,
  added: readonly { readonly egress: boolean; readonly rule: SecurityRule }[],
): Promise<void> => {
  if (added.length === 0) return;
  await tx
    .insertInto('security_group_rule')
    .values(
      added.map(({ egress, rule }) => ({
        ...{ rule_id: newId('securityGroupRule'), group_id: groupId, egress, protocol: rule.protocol },
        ...{ from_port: rule.fromPort ?? null, to_port: rule.toPort ?? null },
        ...{ cidr: rule.cidr ?? null, referenced_group_id: rule.groupId ?? null },
      })),
    )
    .execute();
};
