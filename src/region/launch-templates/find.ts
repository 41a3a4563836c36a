/** Launch templates and their versions by what callers write: an id or a name; a number, `$Latest` or `$Default`. */
import { sql } from 'kysely';
import { PandoError } from '#contracts/errors.ts';
import { idKinds } from '#contracts/ids.ts';
import type { Region } from '../region.ts';
import type { Database, RegionTransaction, Row } from '../schema.ts';

/** A template with the highest version that it has now. */
export type Template = Row<'launch_template'> & { readonly latest_version: number };

export interface TemplateName {
  readonly LaunchTemplateId?: string | undefined;
  readonly LaunchTemplateName?: string | undefined;
}

const shownCharsMax = 128;

/** The version of a template that a launch names, for routers and cells. */
export const launchTemplateOf = async (
  { db }: Pick<Region, 'db'>,
  named: {
    readonly accountId: string;
    readonly id?: string | undefined;
    readonly name?: string | undefined;
    readonly version?: string | undefined;
  },
): Promise<{ launchTemplateId: string; version: number; data: unknown }> => {
  const template = await requireTemplate(db, named.accountId, {
    LaunchTemplateId: named.id,
    LaunchTemplateName: named.name,
  });
  const {
    launch_template_id: launchTemplateId,
    version,
    data,
  } = await requireVersion(db, template, named.version);
  return { launchTemplateId, version, data };
};

export const noSuchId = (id: string): PandoError =>
  new PandoError(
    'InvalidLaunchTemplateId.NotFound',
    `The specified launch template, with template ID ${id.slice(0, shownCharsMax)}, does not exist.`,
  );

export const noSuchName = (name: string): PandoError =>
  new PandoError(
    'InvalidLaunchTemplateName.NotFoundException',
    `The specified launch template, with template name ${name.slice(0, shownCharsMax)}, does not exist.`,
  );

export const noSuchVersion = (templateId: string, version: string | number): PandoError =>
  new PandoError(
    'InvalidLaunchTemplateId.VersionNotFound',
    `Could not find the specified version ${String(version).slice(0, shownCharsMax)} for the launch template with ID ${templateId}.`,
  );

/** An id of another kind is malformed; any other that does not exist is not found. */
export const checkTemplateId = (id: string): string => {
  if (id.startsWith(`${idKinds.launchTemplate.prefix}-`)) return id;
  throw new PandoError(
    'InvalidLaunchTemplateId.Malformed',
    `Invalid id: "${id.slice(0, shownCharsMax)}" (expecting "${idKinds.launchTemplate.prefix}-...")`,
  );
};

/** All templates of an account. */
export const templatesOf = (db: Database, accountId: string) =>
  db
    .selectFrom('launch_template as t')
    .selectAll('t')
    .select(
      sql<number>`(select max(v.version) from launch_template_version v where v.launch_template_id = t.launch_template_id)`.as(
        'latest_version',
      ),
    )
    .where('t.account_id', '=', accountId);

/** The one that a call names. @throws EC2's errors for none, both and unknown */
export const requireTemplate = async (
  db: Database,
  accountId: string,
  { LaunchTemplateId: id, LaunchTemplateName: name }: TemplateName,
): Promise<Template> => {
  if (id !== undefined && name !== undefined)
    throw new PandoError(
      'InvalidParameterCombination',
      'Either a LaunchTemplateId or a LaunchTemplateName must be given, not both.',
    );
  if (id === undefined && name === undefined)
    throw new PandoError(
      'MissingParameter',
      'The request must contain the parameter LaunchTemplateId or LaunchTemplateName',
    );
  const all = templatesOf(db, accountId);
  const found =
    id === undefined
      ? await all.where('t.name', '=', name ?? '').executeTakeFirst()
      : await all.where('t.launch_template_id', '=', checkTemplateId(id)).executeTakeFirst();
  if (found === undefined) throw id === undefined ? noSuchName(name ?? '') : noSuchId(id);
  return found;
};

/** {@link requireTemplate} for a change: changes of one template, and of its versions, happen one after another. */
export const lockTemplate = async (
  tx: RegionTransaction,
  accountId: string,
  name: TemplateName,
): Promise<Template> => {
  const { launch_template_id: LaunchTemplateId } = await requireTemplate(tx, accountId, name);
  await sql`select 1 from launch_template where launch_template_id = ${LaunchTemplateId} for update`.execute(
    tx,
  );
  // A wait for the lock does not refresh what was read before it.
  return requireTemplate(tx, accountId, { LaunchTemplateId });
};

const versionMax = 2 ** 31 - 1;

/** The number that a version's text means for a template; whether there is such a version is not looked at. */
export const versionNumberOf = (template: Template, text: string | undefined): number => {
  if (text === undefined || text === '' || text === '$Default') return template.default_version;
  if (text === '$Latest') return template.latest_version;
  const version = /^\d{1,10}$/.test(text) ? Number(text) : 0;
  if (version < 1 || version > versionMax)
    throw new PandoError(
      'InvalidParameterValue',
      `Invalid launch template version '${text.slice(0, shownCharsMax)}': '$Default', '$Latest' or a number is allowed.`,
    );
  return version;
};

/** @throws InvalidLaunchTemplateId.VersionNotFound */
export const requireVersion = async (
  db: Database,
  template: Template,
  text: string | undefined,
): Promise<Row<'launch_template_version'>> => {
  const version = versionNumberOf(template, text);
  const found = await db
    .selectFrom('launch_template_version')
    .selectAll()
    .where('launch_template_id', '=', template.launch_template_id)
    .where('version', '=', version)
    .executeTakeFirst();
  if (found === undefined) throw noSuchVersion(template.launch_template_id, text ?? version);
  return found;
};
