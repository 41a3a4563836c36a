/** Versions of launch templates: numbered in the order in which they are made, and never changed. */
import { sql } from 'kysely';
import { PandoError } from '#contracts/errors.ts';
import { endDryRun } from '#wire/dryRun.ts';
import { compileFilters, type FilterSpec } from '#wire/filters.ts';
import { cutPage, type PageRequest, readPage } from '#wire/pagination.ts';
import type { Handlers, In, Out } from '#wire/types.ts';
import { change } from '../change.ts';
import { claimToken } from '../client-tokens.ts';
import type { ActionContext } from '../context.ts';
import { checkDescription, type ResponseData, showData, storeData } from '../launch-templates/data.ts';
import {
  lockTemplate,
  noSuchVersion,
  requireTemplate,
  requireVersion,
  type Template,
  templatesOf,
  versionNumberOf,
} from '../launch-templates/find.ts';
import type { Database, Row } from '../schema.ts';
import { templatePage } from './launch-templates.ts';

type Version = NonNullable<Out<'CreateLaunchTemplateVersion'>['LaunchTemplateVersion']>;
type DescribeInput = In<'DescribeLaunchTemplateVersions'>;

interface VersionRow {
  readonly template: Template;
  readonly row: Row<'launch_template_version'>;
  readonly data: ResponseData;
}

const versionsPerTemplateMax = 10_000;
const deletedAtOnceMax = 200;

const show = ({ template, row, data }: VersionRow): Version => ({
  LaunchTemplateId: template.launch_template_id,
  LaunchTemplateName: template.name,
  VersionNumber: row.version,
  ...(row.description === null ? {} : { VersionDescription: row.description }),
  CreateTime: row.created_at,
  CreatedBy: row.created_by,
  DefaultVersion: row.version === template.default_version,
  LaunchTemplateData: data,
});

const filters: FilterSpec<VersionRow> = {
  'create-time': ({ row }) => row.created_at,
  'ebs-optimized': ({ data }) => data.EbsOptimized,
  'host-resource-group-arn': ({ data }) => data.Placement?.HostResourceGroupArn,
  'http-endpoint': ({ data }) => data.MetadataOptions?.HttpEndpoint,
  // The filter's documented name; there is no such member, and IPv4 is what the endpoint answers on.
  'http-protocol-ipv4': ({ data }) => data.MetadataOptions?.HttpEndpoint,
  'http-tokens': ({ data }) => data.MetadataOptions?.HttpTokens,
  'iam-instance-profile': ({ data }) => data.IamInstanceProfile?.Arn ?? data.IamInstanceProfile?.Name,
  'image-id': ({ data }) => data.ImageId,
  'instance-type': ({ data }) => data.InstanceType,
  'is-default-version': ({ template, row }) => row.version === template.default_version,
  'kernel-id': ({ data }) => data.KernelId,
  'license-configuration-arn': ({ data }) =>
    data.LicenseSpecifications?.map((one) => one.LicenseConfigurationArn),
  'network-card-index': ({ data }) => data.NetworkInterfaces?.map((one) => one.NetworkCardIndex),
  'ram-disk-id': ({ data }) => data.RamDiskId,
};

const withData = (template: Template, row: Row<'launch_template_version'>): VersionRow => ({
  template,
  row,
  data: showData(row.data),
});

const aliases = ['$Latest', '$Default'];

/** Which versions are meant, without what is in them: an account may have more than this process has room for. */
interface Place {
  readonly template: Template;
  readonly version: number;
}

/** Versions of one template, or the latest or default ones of all. */
const placesAsked = async (db: Database, accountId: string, input: DescribeInput): Promise<Place[]> => {
  const { Versions: texts = [] } = input;
  if (input.LaunchTemplateId === undefined && input.LaunchTemplateName === undefined) {
    if (texts.length === 0 || texts.some((text) => !aliases.includes(text)))
      throw new PandoError(
        'MissingParameter',
        'Without a LaunchTemplateId or a LaunchTemplateName, Versions must be $Latest, $Default or both.',
      );
    const templates = await templatesOf(db, accountId).execute();
    return templates.flatMap((template) => {
      const versions = new Set(texts.map((text) => versionNumberOf(template, text)));
      return [...versions].map((version) => ({ template, version }));
    });
  }
  const template = await requireTemplate(db, accountId, input);
  return placesOf(db, template, { texts, min: input.MinVersion, max: input.MaxVersion });
};

interface Wanted {
  readonly texts: readonly string[];
  readonly min?: string | undefined;
  readonly max?: string | undefined;
}

const placesOf = async (db: Database, template: Template, { texts, min, max }: Wanted): Promise<Place[]> => {
  if (texts.length > 0 && (min !== undefined || max !== undefined))
    throw new PandoError(
      'InvalidParameterCombination',
      'Versions and a range of versions exclude each other.',
    );
  let query = db
    .selectFrom('launch_template_version')
    .select('version')
    .where('launch_template_id', '=', template.launch_template_id);
  if (min !== undefined) query = query.where('version', '>=', versionNumberOf(template, min));
  if (max !== undefined) query = query.where('version', '<=', versionNumberOf(template, max));
  const numbers = texts.map((text) => versionNumberOf(template, text));
  if (numbers.length > 0) query = query.where('version', 'in', numbers);
  const present = new Set((await query.execute()).map(({ version }) => version));
  const missing = numbers.findIndex((version) => !present.has(version));
  if (missing >= 0) throw noSuchVersion(template.launch_template_id, texts[missing] ?? '');
  return [...present].map((version) => ({ template, version }));
};

/** The newest version of a template comes first, as at EC2. */
const placeCursor = ({ template, version }: Place): string =>
  `${template.launch_template_id} ${String(2 ** 31 - version).padStart(10, '0')}`;
const cursorOf = ({ template, row }: VersionRow): string => placeCursor({ template, version: row.version });

/** Versions whose data are read at a time: each may have 64 KiB. */
const readAtOnceMax = 100;

const rowsAt = async (db: Database, places: readonly Place[]): Promise<VersionRow[]> => {
  const templates = new Map(places.map(({ template }) => [template.launch_template_id, template]));
  const ids = places.map(({ template }) => template.launch_template_id);
  const versions = places.map(({ version }) => version);
  const { rows } = await sql<Row<'launch_template_version'>>`
    select v.* from launch_template_version v
    join unnest(${ids}::text[], ${versions}::int[]) asked (id, version)
      on v.launch_template_id = asked.id and v.version = asked.version`.execute(db);
  return rows.flatMap((row) => {
    const template = templates.get(row.launch_template_id);
    return template === undefined ? [] : [withData(template, row)];
  });
};

/** The versions that match, from the page's place on, until the page is full and one more is found. */
const nextVersions = async (
  db: Database,
  asked: readonly Place[],
  page: PageRequest,
  matches: (row: VersionRow) => boolean,
): Promise<VersionRow[]> => {
  const { after, items } = page;
  const places = asked
    .map((place) => ({ place, cursor: placeCursor(place) }))
    .filter(({ cursor }) => after === undefined || cursor > after)
    .sort((a, b) => (a.cursor < b.cursor ? -1 : 1));
  const found: VersionRow[] = [];
  for (let at = 0; at < places.length && found.length <= items; at += readAtOnceMax) {
    const batch = places.slice(at, at + readAtOnceMax).map(({ place }) => place);
    found.push(...(await rowsAt(db, batch)).filter(matches));
  }
  return found.sort((a, b) => (cursorOf(a) < cursorOf(b) ? -1 : 1));
};

export const launchTemplateVersionHandlers: Handlers<ActionContext> = {
  async CreateLaunchTemplateVersion(input, context) {
    const given = storeData(input.LaunchTemplateData);
    const description = checkDescription(input.VersionDescription);
    const made = await change(context, input, async (tx) => {
      const template = await lockTemplate(tx, context.accountId, input);
      const version = template.last_version + 1;
      const earlier = await claimToken(tx, context, 'CreateLaunchTemplateVersion', input, String(version));
      if (earlier !== undefined) return withData(template, await requireVersion(tx, template, earlier));
      await checkRoom(tx, template);
      const source =
        input.SourceVersion === undefined
          ? {}
          : (await requireVersion(tx, template, input.SourceVersion)).data;
      await tx
        .updateTable('launch_template')
        .set({ last_version: version })
        .where('launch_template_id', '=', template.launch_template_id)
        .execute();
      const row = await tx
        .insertInto('launch_template_version')
        .values({
          launch_template_id: template.launch_template_id,
          version,
          description,
          created_by: context.principal,
          // What is given replaces what the source has under the same name, as a whole.
          data: JSON.stringify({ ...source, ...given }),
        })
        .returningAll()
        .executeTakeFirstOrThrow();
      return withData(template, row);
    });
    return { LaunchTemplateVersion: show(made) };
  },

  async DescribeLaunchTemplateVersions(input, context) {
    const page = readPage(input, {
      secret: context.region.pageSecret,
      scope: `${context.accountId}/DescribeLaunchTemplateVersions`,
      ids: { parameter: 'versions', values: input.Versions?.filter((text) => !aliases.includes(text)) },
      ...templatePage,
    });
    const matches = compileFilters(input.Filters, filters);
    const { db } = context.region;
    const asked = await placesAsked(db, context.accountId, input);
    endDryRun(input);
    const matching = await nextVersions(db, asked, page, matches);
    const cut = cutPage(matching, page, cursorOf);
    return { LaunchTemplateVersions: cut.items.map(show), NextToken: cut.nextToken };
  },

  /** Each version by itself: what cannot be deleted is named, the others are. */
  async DeleteLaunchTemplateVersions(input, context) {
    const { Versions: texts } = input;
    if (texts.length === 0)
      throw new PandoError(
        'MissingParameter',
        'The request must contain the parameter LaunchTemplateVersion',
      );
    if (texts.length > deletedAtOnceMax)
      throw new PandoError(
        'InvalidParameterValue',
        `${deletedAtOnceMax} versions at most can be deleted at once.`,
      );
    return change(context, input, async (tx) => {
      const template = await lockTemplate(tx, context.accountId, input);
      const named = { LaunchTemplateId: template.launch_template_id, LaunchTemplateName: template.name };
      const numbers = [...new Set(texts)].map((text) => versionNumberOf(template, text));
      const deletable = numbers.filter((version) => version !== template.default_version);
      const deleted = await tx
        .deleteFrom('launch_template_version')
        .where('launch_template_id', '=', template.launch_template_id)
        .where('version', 'in', [0, ...deletable])
        .returning('version')
        .execute();
      const gone = new Set(deleted.map((row) => row.version));
      return {
        SuccessfullyDeletedLaunchTemplateVersions: [...gone].map((VersionNumber) => ({
          ...named,
          VersionNumber,
        })),
        UnsuccessfullyDeletedLaunchTemplateVersions: [...new Set(numbers)]
          .filter((version) => !gone.has(version))
          .map((VersionNumber) => ({
            ...named,
            VersionNumber,
            ResponseError: whyNot(template, VersionNumber),
          })),
      };
    });
  },
};

const whyNot = (template: Template, version: number) =>
  version === template.default_version
    ? {
        Code: 'unexpectedError' as const,
        Message: 'The default version of a launch template cannot be deleted.',
      }
    : {
        Code: 'launchTemplateVersionDoesNotExist' as const,
        Message: noSuchVersion(template.launch_template_id, version).message,
      };

const checkRoom = async (db: Database, template: Template): Promise<void> => {
  const { count } = await db
    .selectFrom('launch_template_version')
    .select((row) => row.fn.countAll<number>().as('count'))
    .where('launch_template_id', '=', template.launch_template_id)
    .executeTakeFirstOrThrow();
  if (Number(count) >= versionsPerTemplateMax)
    throw new PandoError(
      'ResourceLimitExceeded',
      `A launch template has ${versionsPerTemplateMax} versions at most: delete some that are not used.`,
    );
};
