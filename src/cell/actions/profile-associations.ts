/** Which profile an instance runs with: associated, replaced, taken away, also while it runs. */
import type { IamInstanceProfileAssociation } from '@aws-sdk/client-ec2';
import { PandoError } from '#contracts/errors.ts';
import { notFound } from '#contracts/ids.ts';
import { compileFilters, type FilterSpec } from '#wire/filters.ts';
import { cutPage, type PageRequest, readPage } from '#wire/pagination.ts';
import type { In, Out } from '#wire/types.ts';
import { newAssociation } from '../profile-association.ts';
import {
  changeInstance,
  type InstanceRow,
  metadataDue,
  type ProfileAssociation,
} from '../store/instances.ts';
import { listAssociatedAfter, lockAssociated } from '../store/profile-associations.ts';
import type { Sql } from '../store/sql.ts';
import type { CellContext } from './context.ts';
import { lockOne } from './find.ts';
import { readProfile } from './instance-profile.ts';

type State = NonNullable<IamInstanceProfileAssociation['State']>;

const render = (
  row: InstanceRow,
  association: ProfileAssociation,
  state: State,
): IamInstanceProfileAssociation => ({
  AssociationId: association.associationId,
  InstanceId: row.id,
  IamInstanceProfile: { Arn: association.arn, Id: association.profileId },
  State: state,
  Timestamp: new Date(association.since),
});

/** `associating` until its guest's metadata service has been told, by the launch or after it. */
const stateOf = (row: InstanceRow, { since }: ProfileAssociation): State => {
  const told = row.credentials_due !== null && row.credentials_due !== undefined;
  const pending = row.state === 'pending' || row.state === 'running';
  return pending && told && row.credentials_due.getTime() <= Date.parse(since) ? 'associating' : 'associated';
};

/** The profile that is asked for, of the caller's account. @throws MissingParameter, InvalidParameterValue */
const resolve = async (
  context: CellContext,
  input: In<'AssociateIamInstanceProfile'>['IamInstanceProfile'],
): Promise<ProfileAssociation> => {
  const profile = readProfile(input);
  if (profile === undefined)
    throw new PandoError('MissingParameter', 'The request must contain the parameter IamInstanceProfile');
  const { region, identity, clock } = context.services;
  const { accountId } = context.request;
  const found = await region.call('region.instanceProfile', { accountId, profile });
  return newAssociation(identity.cellNumber, found, new Date(clock.now()));
};

/** The guest is told soon: what it reads then says so, or says nothing any more. */
const set = async (
  tx: Sql,
  row: InstanceRow,
  instanceProfile: ProfileAssociation | undefined,
): Promise<void> => {
  await changeInstance(tx, row.id, {
    spec: { ...row.spec, instanceProfile },
    ...metadataDue(row),
    credentials_due: instanceProfile === undefined ? null : new Date(instanceProfile.since),
  });
};

export const associateIamInstanceProfile = async (
  input: In<'AssociateIamInstanceProfile'>,
  context: CellContext,
): Promise<Out<'AssociateIamInstanceProfile'>> => {
  const association = await resolve(context, input.IamInstanceProfile);
  const row = await context.services.db.transaction(async (tx) => {
    const row = await lockOne(context, tx, input.InstanceId ?? '');
    if (row.state === 'terminated' || row.state === 'shutting-down')
      throw new PandoError(
        'IncorrectInstanceState',
        `The instance '${row.id}' is not in a state in which a profile can be associated.`,
      );
    if (row.spec.instanceProfile !== undefined)
      throw new PandoError('IncorrectState', `There is an existing association for instance ${row.id}`);
    await set(tx, row, association);
    return row;
  });
  context.metadataChanged();
  return { IamInstanceProfileAssociation: render(row, association, 'associating') };
};

/** The instance of an association, which it has then. @throws InvalidAssociationID.NotFound */
const lockAssociation = async (
  context: CellContext,
  tx: Sql,
  id: string,
): Promise<{ row: InstanceRow; association: ProfileAssociation }> => {
  const row = await lockAssociated(tx, context.request.accountId, id);
  if (row?.spec.instanceProfile === undefined) throw notFound('instanceProfileAssociation', id);
  return { row, association: row.spec.instanceProfile };
};

export const disassociateIamInstanceProfile = async (
  input: In<'DisassociateIamInstanceProfile'>,
  context: CellContext,
): Promise<Out<'DisassociateIamInstanceProfile'>> => {
  const { row, association } = await context.services.db.transaction(async (tx) => {
    const found = await lockAssociation(context, tx, input.AssociationId ?? '');
    await set(tx, found.row, undefined);
    return found;
  });
  context.metadataChanged();
  return { IamInstanceProfileAssociation: render(row, association, 'disassociating') };
};

export const replaceIamInstanceProfileAssociation = async (
  input: In<'ReplaceIamInstanceProfileAssociation'>,
  context: CellContext,
): Promise<Out<'ReplaceIamInstanceProfileAssociation'>> => {
  const association = await resolve(context, input.IamInstanceProfile);
  const row = await context.services.db.transaction(async (tx) => {
    const { row } = await lockAssociation(context, tx, input.AssociationId ?? '');
    await set(tx, row, association);
    return row;
  });
  context.metadataChanged();
  return { IamInstanceProfileAssociation: render(row, association, 'associating') };
};

const filters: FilterSpec<IamInstanceProfileAssociation> = {
  'instance-id': ({ InstanceId }) => InstanceId,
  state: ({ State }) => State,
};

const cursorOf = ({ AssociationId }: IamInstanceProfileAssociation): string => AssociationId ?? '';

const shown = (rows: readonly InstanceRow[]): IamInstanceProfileAssociation[] =>
  rows.flatMap((row) => {
    const { instanceProfile } = row.spec;
    return instanceProfile === undefined ? [] : [render(row, instanceProfile, stateOf(row, instanceProfile))];
  });

/** All of these, or an error. */
const named = async (
  context: CellContext,
  ids: readonly string[],
): Promise<IamInstanceProfileAssociation[]> => {
  const associationIds = [...new Set(ids)];
  const { accountId } = context.request;
  const found = shown(
    await listAssociatedAfter(context.services.db, {
      ...{ accountId, associationIds, limit: associationIds.length },
    }),
  );
  const known = new Set(found.map(cursorOf));
  const missing = associationIds.filter((id) => !known.has(id));
  if (missing.length > 0) throw notFound('instanceProfileAssociation', missing);
  return found;
};

/** Those that match, from the page's place on, until the page is full. */
const next = async (
  context: CellContext,
  page: PageRequest,
  matches: (association: IamInstanceProfileAssociation) => boolean,
): Promise<IamInstanceProfileAssociation[]> => {
  const { accountId } = context.request;
  const limit = page.items + 1;
  const found: IamInstanceProfileAssociation[] = [];
  let { after } = page;
  for (;;) {
    const rows = await listAssociatedAfter(context.services.db, { accountId, after, limit });
    found.push(...shown(rows).filter(matches));
    after = rows.at(-1)?.spec.instanceProfile?.associationId;
    if (rows.length < limit || found.length >= limit) return found;
  }
};

export const describeIamInstanceProfileAssociations = async (
  input: In<'DescribeIamInstanceProfileAssociations'>,
  context: CellContext,
): Promise<Out<'DescribeIamInstanceProfileAssociations'>> => {
  const page = readPage(input, {
    secret: context.pageSecret,
    scope: `${context.request.accountId}/DescribeIamInstanceProfileAssociations`,
    ids: { parameter: 'associationIds', values: input.AssociationIds },
  });
  const matches = compileFilters(input.Filters, filters, () => []);
  const ids = input.AssociationIds ?? [];
  const found = ids.length > 0 ? await named(context, ids) : await next(context, page, matches);
  const cut = cutPage(found.filter(matches), page, cursorOf);
  return {
    IamInstanceProfileAssociations: [...cut.items],
    ...(cut.nextToken === undefined ? {} : { NextToken: cut.nextToken }),
  };
};
