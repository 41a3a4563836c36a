/** What event windows are for: instances by their ids or tags, dedicated hosts. Associated, given up, and looked up for cells. */
import { sql } from 'kysely';
import { PandoError } from '#contracts/errors.ts';
import type { InstanceWindow, WindowedInstance } from '#contracts/event-windows.ts';
import { cellNumberOf, isId, parseId } from '#contracts/ids.ts';
import { notFound } from '../not-found.ts';
import type { Region } from '../region.ts';
import type { Database, RegionTransaction, Row } from '../schema.ts';

export type TargetKind = Row<'event_window_target'>['kind'];

export interface Target {
  readonly target: string;
  /** Of a tag; empty of others. */
  readonly value: string;
}

export interface Targets {
  readonly kind: TargetKind;
  readonly targets: readonly Target[];
}

/** EC2's, of one window. */
export const targetsMax: Readonly<Record<TargetKind, number>> = { instance: 100, tag: 50, host: 50 };

const nouns: Readonly<Record<TargetKind, string>> = {
  instance: 'instances',
  tag: 'instance tags',
  host: 'Dedicated Hosts',
};

interface GivenTargets {
  readonly InstanceIds?: readonly string[] | undefined;
  readonly InstanceTags?: readonly { readonly Key?: string; readonly Value?: string }[] | undefined;
  readonly DedicatedHostIds?: readonly string[] | undefined;
}

const byId = (ids: readonly string[]): Target[] => [...new Set(ids)].map((target) => ({ target, value: '' }));

/** The one kind of target that a request names. @throws MissingParameter, InvalidParameterCombination, InvalidParameterValue */
export const readTargets = (given: GivenTargets): Targets => {
  const { InstanceIds: ids = [], InstanceTags: tags = [], DedicatedHostIds: hosts = [] } = given;
  const all: readonly Targets[] = [
    { kind: 'instance', targets: byId(ids.map((id) => parseId('instance', id))) },
    { kind: 'tag', targets: tags.map(({ Key = '', Value = '' }) => ({ target: Key, value: Value })) },
    { kind: 'host', targets: byId(hosts.map((id) => parseId('host', id))) },
  ];
  const [one, another] = all.filter(({ targets }) => targets.length > 0);
  if (one === undefined)
    throw new PandoError(
      'MissingParameter',
      'The request must contain an AssociationTarget with InstanceIds, InstanceTags or DedicatedHostIds.',
    );
  if (another !== undefined)
    throw new PandoError(
      'InvalidParameterCombination',
      'Only one type of target (instance ID, Dedicated Host ID, or instance tag) can be associated with an event window.',
    );
  if (one.kind === 'tag' && one.targets.some(({ target }) => target === ''))
    throw new PandoError('InvalidParameterValue', 'An instance tag must have a key.');
  if (one.targets.length > targetsMax[one.kind]) throw tooMany(one.kind);
  return one;
};

const tooMany = (kind: TargetKind): PandoError =>
  new PandoError('ResourceLimitExceeded', `An event window has ${targetsMax[kind]} ${nouns[kind]} at most.`);

/** Instances that the account does not have: the region knows them by their interfaces. */
const missingInstances = async (
  db: Database,
  accountId: string,
  ids: readonly string[],
): Promise<readonly string[]> => {
  const rows = await db
    .selectFrom('eni')
    .select('instance_id')
    .where('account_id', '=', accountId)
    .where('instance_id', 'in', ids)
    .execute();
  const known = new Set(rows.map(({ instance_id: id }) => id));
  return ids.filter((id) => !known.has(id));
};

/** Dedicated hosts are their cells': each is asked for its own. @throws Unavailable where a cell does not answer */
const missingHosts = async (
  { cells }: Pick<Region, 'cells'>,
  accountId: string,
  ids: readonly string[],
): Promise<readonly string[]> => {
  const byNumber = new Map([...cells.values()].map((cell) => [cell.number, cell]));
  const known = new Set<string>();
  const asked = Map.groupBy(
    ids.filter((id) => isId('host', id)),
    cellNumberOf,
  );
  for (const [number, own] of asked) {
    const cell = byNumber.get(number);
    const { hostIds } = (await cell?.dedicatedHosts(accountId, own).catch((error: unknown) => {
      throw new PandoError('Unavailable', `The cell of ${own[0]} does not answer now. Retry your request.`, {
        cause: error,
      });
    })) ?? { hostIds: [] };
    for (const id of hostIds) known.add(id);
  }
  return ids.filter((id) => !known.has(id));
};

/** @throws InvalidInstanceID.NotFound, InvalidHostID.NotFound, Unavailable */
export const assertTargetsExist = async (
  region: Pick<Region, 'db' | 'cells'>,
  accountId: string,
  { kind, targets }: Targets,
): Promise<void> => {
  if (kind === 'tag' || targets.length === 0) return;
  const ids = targets.map(({ target }) => target);
  const missing =
    kind === 'instance'
      ? await missingInstances(region.db, accountId, ids)
      : await missingHosts(region, accountId, ids);
  if (missing.length > 0) throw notFound(kind, missing);
};

/** What these windows are associated with. */
export const targetsOf = async (
  db: Database,
  windowIds: readonly string[],
): Promise<Map<string, Row<'event_window_target'>[]>> => {
  if (windowIds.length === 0) return new Map();
  const rows = await db
    .selectFrom('event_window_target')
    .selectAll()
    .where('window_id', 'in', windowIds)
    .orderBy('target')
    .orderBy('value')
    .execute();
  return Map.groupBy(rows, ({ window_id: id }) => id);
};

const shown = ({ target, value }: Target): string => (value === '' ? target : `${target}=${value}`);

/** The account is locked. @throws InvalidParameterCombination, Resource.AlreadyAssociated, ResourceLimitExceeded */
export const associate = async (
  tx: RegionTransaction,
  accountId: string,
  windowId: string,
  { kind, targets }: Targets,
): Promise<void> => {
  const own = (await targetsOf(tx, [windowId])).get(windowId) ?? [];
  if (own.some((row) => row.kind !== kind))
    throw new PandoError(
      'InvalidParameterCombination',
      `The event window '${windowId}' has ${nouns[own[0]?.kind ?? kind]}: only one type of target can be associated with it.`,
    );
  for (const { target, value } of targets) {
    const [row] = await tx
      .insertInto('event_window_target')
      .values({ account_id: accountId, kind, target, value, window_id: windowId })
      .onConflict((conflict) =>
        // The row itself, so that it can be told whose it is.
        conflict.columns(['account_id', 'kind', 'target', 'value']).doUpdateSet({ target }),
      )
      .returning('window_id')
      .execute();
    if (row?.window_id !== windowId)
      throw new PandoError(
        'Resource.AlreadyAssociated',
        `${shown({ target, value })} is associated with the event window '${row?.window_id}': a target can be in one window only.`,
      );
  }
  const after = (await targetsOf(tx, [windowId])).get(windowId) ?? [];
  if (after.length > targetsMax[kind]) throw tooMany(kind);
};

/** @throws InvalidParameterValue for one that is not associated with the window */
export const disassociate = async (
  tx: RegionTransaction,
  accountId: string,
  windowId: string,
  { kind, targets }: Targets,
): Promise<void> => {
  for (const { target, value } of targets) {
    const gone = await tx
      .deleteFrom('event_window_target')
      .where('account_id', '=', accountId)
      .where('window_id', '=', windowId)
      .where('kind', '=', kind)
      .where('target', '=', target)
      .where('value', '=', value)
      .returning('target')
      .execute();
    if (gone.length === 0)
      throw new PandoError(
        'InvalidParameterValue',
        `${shown({ target, value })} is not associated with the event window '${windowId}'.`,
      );
  }
};

/** An instance that has ended is in no window any more. */
export const forgetInstance = async (tx: RegionTransaction, instanceId: string): Promise<void> => {
  await tx
    .deleteFrom('event_window_target')
    .where('kind', '=', 'instance')
    .where('target', '=', instanceId)
    .execute();
};

/** The windows that these instances are in, by whatever means. */
export const windowsOf = async (
  db: Database,
  instances: readonly WindowedInstance[],
): Promise<InstanceWindow[]> => {
  const asked = instances.map(({ instanceId, accountId, tags, dedicatedHostId }) => ({
    ...{ instanceId, accountId, hostId: dedicatedHostId ?? '' },
    tags: tags.map(({ Key, Value }) => ({ key: Key, value: Value })),
  }));
  const { rows } = await sql<InstanceWindow>`
    with asked as (
      select item ->> 'instanceId' as instance_id, item ->> 'accountId' as account_id, item ->> 'hostId' as host_id,
        item -> 'tags' as tags
      from jsonb_array_elements(${JSON.stringify(asked)}::jsonb) as item
    ), goes_by as (
      select instance_id, account_id, 'instance' as kind, instance_id as target, '' as value from asked
      union all
      select instance_id, account_id, 'host', host_id, '' from asked where host_id <> ''
      union all
      select instance_id, account_id, 'tag', tag ->> 'key', tag ->> 'value' from asked, jsonb_array_elements(tags) as tag
    )
    select distinct goes_by.instance_id as "instanceId", window_id as "windowId", hours
    from goes_by
      join event_window_target using (account_id, kind, target, value)
      join event_window using (window_id)
    order by 1, 2`.execute(db);
  return rows;
};
