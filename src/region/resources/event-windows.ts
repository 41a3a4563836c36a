/** Instance event windows: kept, described, associated with what they are for. Cells heed them when they move instances. */
import { PandoError } from '#contracts/errors.ts';
import { newId, parseId } from '#contracts/ids.ts';
import type { FilterSpec } from '#wire/filters.ts';
import type { Handlers, In, Out } from '#wire/types.ts';
import { change, lockAccount } from '../change.ts';
import type { ActionContext } from '../context.ts';
import { describe, withTags } from '../describe.ts';
import { hoursOfCron, hoursOfRanges, type TimeRange } from '../event-windows/hours.ts';
import {
  assertTargetsExist,
  associate,
  disassociate,
  readTargets,
  type TargetKind,
  targetsOf,
} from '../event-windows/targets.ts';
import { notFound } from '../not-found.ts';
import { deleteTagsOf, insertTags, type Tagged, tagsOfType, tagsOnCreate } from '../resource-tags.ts';
import type { Database, RegionTransaction, Row } from '../schema.ts';

type EventWindow = NonNullable<Out<'CreateInstanceEventWindow'>['InstanceEventWindow']>;
type WindowRow = Row<'event_window'> & Tagged & { readonly targets: readonly Row<'event_window_target'>[] };

/** EC2's. */
const windowsPerAccountMax = 200;
const describedMin = 20;
const describedMax = 500;
const nameCharsMax = 255;
const resourceType = 'instance-event-window';

const targetsOfKind = ({ targets }: WindowRow, kind: TargetKind): Row<'event_window_target'>[] =>
  targets.filter((row) => row.kind === kind);

const show = (row: WindowRow): EventWindow => ({
  InstanceEventWindowId: row.window_id,
  ...(row.time_ranges === null ? {} : { TimeRanges: row.time_ranges as EventWindow['TimeRanges'] }),
  ...(row.name === null ? {} : { Name: row.name }),
  ...(row.cron_expression === null ? {} : { CronExpression: row.cron_expression }),
  AssociationTarget: {
    InstanceIds: targetsOfKind(row, 'instance').map(({ target }) => target),
    Tags: targetsOfKind(row, 'tag').map(({ target, value }) => ({ Key: target, Value: value })),
    DedicatedHostIds: targetsOfKind(row, 'host').map(({ target }) => target),
  },
  State: 'active',
  Tags: row.tags,
});

interface GivenHours {
  readonly TimeRanges?: readonly TimeRange[] | undefined;
  readonly CronExpression?: string | undefined;
}

/** What is stored of the hours that a request gives; undefined: it gives none. */
const readHours = ({ TimeRanges: ranges = [], CronExpression: cron }: GivenHours) => {
  if (ranges.length > 0 && cron !== undefined)
    throw new PandoError(
      'InvalidParameterCombination',
      'Either TimeRanges or a CronExpression can be given, not both.',
    );
  if (ranges.length > 0)
    return {
      ...{ time_ranges: JSON.stringify(ranges), cron_expression: null },
      hours: JSON.stringify(hoursOfRanges(ranges)),
    };
  if (cron === undefined) return undefined;
  return { time_ranges: null, cron_expression: cron, hours: JSON.stringify(hoursOfCron(cron)) };
};

const readName = (name: string | undefined): string | undefined => {
  if (name === undefined) return undefined;
  if (name.length === 0 || name.length > nameCharsMax)
    throw new PandoError('InvalidParameterValue', `A name has 1 to ${nameCharsMax} characters.`);
  return name;
};

const lockWindow = async (
  tx: RegionTransaction,
  accountId: string,
  id: string,
): Promise<Row<'event_window'>> => {
  const row = await tx
    .selectFrom('event_window')
    .selectAll()
    .where('window_id', '=', parseId('instanceEventWindow', id))
    .where('account_id', '=', accountId)
    .forUpdate()
    .executeTakeFirst();
  if (row === undefined) throw notFound('instanceEventWindow', id);
  return row;
};

/** With what it is associated with, and its tags. */
const whole = async (
  db: Database,
  context: ActionContext,
  row: Row<'event_window'>,
): Promise<EventWindow> => {
  const targets = (await targetsOf(db, [row.window_id])).get(row.window_id) ?? [];
  const tags = (await tagsOfType(context, resourceType)).get(row.window_id) ?? [];
  return show({ ...row, targets, tags });
};

const windowFilters: FilterSpec<WindowRow> = {
  'dedicated-host-id': (row) => targetsOfKind(row, 'host').map(({ target }) => target),
  'event-window-name': (row) => row.name,
  'instance-id': (row) => targetsOfKind(row, 'instance').map(({ target }) => target),
  'instance-tag': (row) => targetsOfKind(row, 'tag').map(({ target, value }) => `${target}=${value}`),
  'instance-tag-key': (row) => targetsOfKind(row, 'tag').map(({ target }) => target),
  'instance-tag-value': (row) => targetsOfKind(row, 'tag').map(({ value }) => value),
};

type Associating = In<'AssociateInstanceEventWindow'> | In<'DisassociateInstanceEventWindow'>;

/** Checks and changes what a window is associated with. */
const changeTargets = async (
  input: Associating,
  context: ActionContext,
  work: typeof associate,
): Promise<{ InstanceEventWindow: EventWindow }> => {
  const { accountId, region } = context;
  const { InstanceEventWindowId: id, AssociationTarget: given } = input;
  await assertOwned(region.db, accountId, id);
  const targets = readTargets(given);
  const own = (await targetsOf(region.db, [id])).get(id) ?? [];
  // What is associated may have gone since.
  const others = targets.targets.filter(
    (each) => !own.some(({ target, value }) => target === each.target && value === each.value),
  );
  await assertTargetsExist(region, accountId, { ...targets, targets: others });
  const row = await change(context, input, async (tx) => {
    // Two windows that want one target are looked at one after the other.
    await lockAccount(tx, accountId);
    const window = await lockWindow(tx, accountId, id);
    await work(tx, accountId, id, targets);
    return window;
  });
  return { InstanceEventWindow: await whole(region.db, context, row) };
};

const assertOwned = async (db: Database, accountId: string, id: string): Promise<void> => {
  const row = await db
    .selectFrom('event_window')
    .select('window_id')
    .where('window_id', '=', parseId('instanceEventWindow', id))
    .where('account_id', '=', accountId)
    .executeTakeFirst();
  if (row === undefined) throw notFound('instanceEventWindow', id);
};

export const eventWindowHandlers: Handlers<ActionContext> = {
  async CreateInstanceEventWindow(input, context) {
    const { accountId } = context;
    const name = readName(input.Name) ?? null;
    const hours = readHours(input);
    if (hours === undefined)
      throw new PandoError(
        'MissingParameter',
        'The request must contain TimeRanges or a CronExpression: the hours of the window.',
      );
    const tags = tagsOnCreate(input.TagSpecifications, resourceType);
    const row = await change(context, input, async (tx) => {
      await lockAccount(tx, accountId);
      const { count } = await tx
        .selectFrom('event_window')
        .select((of) => of.fn.countAll<number>().as('count'))
        .where('account_id', '=', accountId)
        .executeTakeFirstOrThrow();
      if (Number(count) >= windowsPerAccountMax)
        throw new PandoError(
          'ResourceLimitExceeded',
          `An account has ${windowsPerAccountMax} event windows at most.`,
        );
      const window_id = newId('instanceEventWindow');
      const made = await tx
        .insertInto('event_window')
        .values({ window_id, account_id: accountId, name, ...hours })
        .returningAll()
        .executeTakeFirstOrThrow();
      await insertTags(tx, accountId, resourceType, window_id, tags);
      return made;
    });
    return { InstanceEventWindow: show({ ...row, targets: [], tags }) };
  },

  async DescribeInstanceEventWindows(input, context) {
    const { db } = context.region;
    const all = db
      .selectFrom('event_window')
      .selectAll()
      .where('account_id', '=', context.accountId)
      .execute();
    const rows = await withTags(context, resourceType, all, (row) => row.window_id);
    const targets = await targetsOf(
      db,
      rows.map((row) => row.window_id),
    );
    const { items, nextToken } = describe(
      rows.map((row): WindowRow => ({ ...row, targets: targets.get(row.window_id) ?? [] })),
      input,
      context,
      {
        action: 'DescribeInstanceEventWindows',
        idOf: (row) => row.window_id,
        filters: windowFilters,
        tagsOf: (row) => row.tags,
        ids: {
          kind: 'instanceEventWindow',
          parameter: 'instanceEventWindowIds',
          values: input.InstanceEventWindowIds,
        },
        page: { itemsMin: describedMin, itemsMax: describedMax },
      },
    );
    return { InstanceEventWindows: items.map(show), NextToken: nextToken };
  },

  async ModifyInstanceEventWindow(input, context) {
    const { accountId } = context;
    const name = readName(input.Name);
    const hours = readHours(input);
    const row = await change(context, input, async (tx) => {
      const window = await lockWindow(tx, accountId, input.InstanceEventWindowId);
      if (name === undefined && hours === undefined)
        throw new PandoError(
          'MissingParameter',
          'The request must contain what is to be changed: Name, TimeRanges or CronExpression.',
        );
      return tx
        .updateTable('event_window')
        .set({ ...(name === undefined ? {} : { name }), ...hours })
        .where('window_id', '=', window.window_id)
        .returningAll()
        .executeTakeFirstOrThrow();
    });
    return { InstanceEventWindow: await whole(context.region.db, context, row) };
  },

  async DeleteInstanceEventWindow(input, context) {
    const { InstanceEventWindowId: id, ForceDelete: force = false } = input;
    await change(context, input, async (tx) => {
      await lockWindow(tx, context.accountId, id);
      if (!force && (await targetsOf(tx, [id])).size > 0)
        throw new PandoError(
          'DependencyViolation',
          `The event window '${id}' is associated with targets: disassociate them, or set ForceDelete.`,
        );
      await tx.deleteFrom('event_window').where('window_id', '=', id).execute();
      await deleteTagsOf(tx, id);
    });
    return { InstanceEventWindowState: { InstanceEventWindowId: id, State: 'deleted' } };
  },

  AssociateInstanceEventWindow: (input, context) => changeTargets(input, context, associate),
  DisassociateInstanceEventWindow: (input, context) => changeTargets(input, context, disassociate),
};
