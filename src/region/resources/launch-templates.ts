/** Launch templates, without their versions (launch-template-versions.ts). */
import { PandoError } from '#contracts/errors.ts';
import { newId } from '#contracts/ids.ts';
import type { FilterSpec } from '#wire/filters.ts';
import type { Handlers, Out } from '#wire/types.ts';
import { change, lockAccount } from '../change.ts';
import { claimToken } from '../client-tokens.ts';
import type { ActionContext } from '../context.ts';
import { describe, withTags } from '../describe.ts';
import { checkDescription, storeData } from '../launch-templates/data.ts';
import {
  checkTemplateId,
  lockTemplate,
  noSuchId,
  noSuchName,
  requireTemplate,
  requireVersion,
  type Template,
  templatesOf,
} from '../launch-templates/find.ts';
import { deleteTagsOf, insertTags, type Tagged, tagsOfType, tagsOnCreate } from '../resource-tags.ts';
import type { RegionTransaction } from '../schema.ts';

type LaunchTemplate = NonNullable<Out<'CreateLaunchTemplate'>['LaunchTemplate']>;
type TemplateRow = Template & Tagged;

const templatesPerAccountMax = 5_000;
const namePattern = /^[a-zA-Z0-9().\-/_]{3,128}$/;
/** EC2's pages of launch templates. */
export const templatePage = { itemsMin: 1, itemsMax: 200 };

const show = (template: TemplateRow): LaunchTemplate => ({
  LaunchTemplateId: template.launch_template_id,
  LaunchTemplateName: template.name,
  CreateTime: template.created_at,
  CreatedBy: template.created_by,
  DefaultVersionNumber: template.default_version,
  LatestVersionNumber: template.latest_version,
  Tags: template.tags,
});

const filters: FilterSpec<TemplateRow> = {
  'create-time': (template) => template.created_at,
  'launch-template-name': (template) => template.name,
};

const tagged = async (context: ActionContext, template: Template): Promise<TemplateRow> => ({
  ...template,
  tags: (await tagsOfType(context, 'launch-template')).get(template.launch_template_id) ?? [],
});

const checkName = (name: string): void => {
  if (namePattern.test(name)) return;
  throw new PandoError(
    'InvalidLaunchTemplateName.MalformedException',
    'A launch template name must be between 3 and 128 characters, and may contain letters, numbers, and the following characters: - ( ) . / _',
  );
};

const checkRoom = async (tx: RegionTransaction, accountId: string, name: string): Promise<void> => {
  await lockAccount(tx, accountId);
  const own = await tx
    .selectFrom('launch_template')
    .select('name')
    .where('account_id', '=', accountId)
    .execute();
  if (own.some((template) => template.name === name))
    throw new PandoError(
      'InvalidLaunchTemplateName.AlreadyExistsException',
      'Launch template name already in use.',
    );
  if (own.length >= templatesPerAccountMax)
    throw new PandoError(
      'ResourceLimitExceeded',
      `An account has ${templatesPerAccountMax} launch templates at most.`,
    );
};

export const launchTemplateHandlers: Handlers<ActionContext> = {
  async CreateLaunchTemplate(input, context) {
    const { accountId, principal } = context;
    checkName(input.LaunchTemplateName);
    if (input.Operator !== undefined)
      throw new PandoError('UnsupportedOperation', 'The parameter Operator is not supported.');
    const data = JSON.stringify(storeData(input.LaunchTemplateData));
    const description = checkDescription(input.VersionDescription);
    const tags = tagsOnCreate(input.TagSpecifications, 'launch-template');
    const template = await change(context, input, async (tx) => {
      const id = newId('launchTemplate');
      const earlier = await claimToken(tx, context, 'CreateLaunchTemplate', input, id);
      if (earlier === undefined) {
        await checkRoom(tx, accountId, input.LaunchTemplateName);
        const made = { launch_template_id: id, created_by: principal };
        await tx
          .insertInto('launch_template')
          .values({ ...made, account_id: accountId, name: input.LaunchTemplateName })
          .execute();
        await tx
          .insertInto('launch_template_version')
          .values({ ...made, version: 1, description, data })
          .execute();
        await insertTags(tx, accountId, 'launch-template', id, tags);
      }
      return requireTemplate(tx, accountId, { LaunchTemplateId: earlier ?? id });
    });
    return { LaunchTemplate: show({ ...template, tags }) };
  },

  async DescribeLaunchTemplates(input, context) {
    const all = templatesOf(context.region.db, context.accountId).execute();
    const rows = await withTags(context, 'launch-template', all, (template) => template.launch_template_id);
    const asked = selectAsked(rows, input.LaunchTemplateIds ?? [], input.LaunchTemplateNames ?? []);
    const page = describe(asked, input, context, {
      action: 'DescribeLaunchTemplates',
      idOf: (template) => template.launch_template_id,
      filters,
      tagsOf: (template) => template.tags,
      page: templatePage,
    });
    return { LaunchTemplates: page.items.map(show), NextToken: page.nextToken };
  },

  /** Another version becomes the default one: all else of a template never changes. */
  async ModifyLaunchTemplate(input, context) {
    const template = await change(context, input, async (tx) => {
      const before = await lockTemplate(tx, context.accountId, input);
      if (input.DefaultVersion === undefined)
        throw new PandoError('MissingParameter', 'The request must contain the parameter SetDefaultVersion');
      const { version } = await requireVersion(tx, before, input.DefaultVersion);
      await tx
        .updateTable('launch_template')
        .set({ default_version: version })
        .where('launch_template_id', '=', before.launch_template_id)
        .execute();
      return { ...before, default_version: version };
    });
    return { LaunchTemplate: show(await tagged(context, template)) };
  },

  async DeleteLaunchTemplate(input, context) {
    const gone = await change(context, input, async (tx) => {
      const template = await lockTemplate(tx, context.accountId, input);
      await tx
        .deleteFrom('launch_template')
        .where('launch_template_id', '=', template.launch_template_id)
        .execute();
      await deleteTagsOf(tx, template.launch_template_id);
      return template;
    });
    return { LaunchTemplate: show({ ...gone, tags: [] }) };
  },
};

const selectAsked = (
  rows: readonly TemplateRow[],
  ids: readonly string[],
  names: readonly string[],
): readonly TemplateRow[] => {
  if (ids.length + names.length === 0) return rows;
  const byId = new Map(rows.map((row) => [row.launch_template_id, row]));
  const byName = new Map(rows.map((row) => [row.name, row]));
  const asked = [
    ...ids.map((id) => byId.get(checkTemplateId(id)) ?? noSuchId(id)),
    ...names.map((name) => byName.get(name) ?? noSuchName(name)),
  ];
  const found: TemplateRow[] = [];
  for (const one of asked) {
    if (one instanceof PandoError) throw one;
    found.push(one);
  }
  return [...new Set(found)];
};
