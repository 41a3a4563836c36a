/** What an account's launches get of the metadata service where they say nothing: above the image's own word, as at EC2. */
import { sql } from 'kysely';
import { PandoError } from '#contracts/errors.ts';
import type { MetadataDefaults } from '#contracts/region.ts';
import { endDryRun } from '#wire/dryRun.ts';
import type { Handlers } from '#wire/types.ts';
import { change } from '../change.ts';
import type { ActionContext } from '../context.ts';
import type { Database } from '../schema.ts';

const hopLimitMax = 64;

/** Takes a default back. */
const noPreference = 'no-preference';

export interface MetadataDefaultsRow {
  http_tokens: MetadataDefaults['httpTokens'] | null;
  http_endpoint: MetadataDefaults['httpEndpoint'] | null;
  hop_limit: number | null;
  instance_tags: MetadataDefaults['instanceTags'] | null;
}

/** Those that the account has set. */
export const metadataDefaultsIn = (row: MetadataDefaultsRow | null | undefined): MetadataDefaults => {
  const { http_tokens, http_endpoint, hop_limit, instance_tags } = row ?? {};
  return {
    ...(http_tokens ? { httpTokens: http_tokens } : {}),
    ...(http_endpoint ? { httpEndpoint: http_endpoint } : {}),
    ...(hop_limit ? { hopLimit: hop_limit } : {}),
    ...(instance_tags ? { instanceTags: instance_tags } : {}),
  };
};

export const metadataDefaultsOf = async (db: Database, accountId: string): Promise<MetadataDefaults> => {
  const { rows } = await sql<MetadataDefaultsRow>`
    select http_tokens, http_endpoint, hop_limit, instance_tags from account_metadata_defaults
    where account_id = ${accountId}`.execute(db);
  return metadataDefaultsIn(rows[0]);
};

/** undefined: it stays; null: taken back. @throws InvalidParameterValue */
const wordOf = <T extends string>(
  name: string,
  allowed: readonly T[],
  given: string | undefined,
): T | null | undefined => {
  if (given === undefined) return undefined;
  if (given === noPreference) return null;
  const word = allowed.find((each) => each === given);
  if (word !== undefined) return word;
  throw new PandoError(
    'InvalidParameterValue',
    `Value (${given.slice(0, 64)}) for parameter ${name} is invalid. Expecting ${[...allowed, noPreference].join(', ')}.`,
  );
};

const hopLimitOf = (given: number | undefined): number | null | undefined => {
  if (given === undefined) return undefined;
  if (given === -1) return null;
  if (given >= 1 && given <= hopLimitMax) return given;
  throw new PandoError(
    'InvalidParameterValue',
    `Value (${given}) for parameter HttpPutResponseHopLimit is invalid. Expecting 1 to ${hopLimitMax}, or -1.`,
  );
};

export const metadataDefaultsHandlers: Handlers<ActionContext> = {
  async ModifyInstanceMetadataDefaults(input, context) {
    const tokens = wordOf('HttpTokens', ['optional', 'required'], input.HttpTokens);
    const endpoint = wordOf('HttpEndpoint', ['enabled', 'disabled'], input.HttpEndpoint);
    const hopLimit = hopLimitOf(input.HttpPutResponseHopLimit);
    const tags = wordOf('InstanceMetadataTags', ['disabled', 'enabled'], input.InstanceMetadataTags);
    await change(context, input, async (tx) => {
      const { accountId } = context;
      await sql`insert into account_metadata_defaults (account_id) values (${accountId}) on conflict do nothing`.execute(
        tx,
      );
      await sql`
        update account_metadata_defaults set
          http_tokens = case when ${tokens === undefined} then http_tokens else ${tokens ?? null}::text end,
          http_endpoint = case when ${endpoint === undefined} then http_endpoint else ${endpoint ?? null}::text end,
          hop_limit = case when ${hopLimit === undefined} then hop_limit else ${hopLimit ?? null}::int end,
          instance_tags = case when ${tags === undefined} then instance_tags else ${tags ?? null}::text end
        where account_id = ${accountId}`.execute(tx);
    });
    return { Return: true };
  },

  async GetInstanceMetadataDefaults(input, context) {
    const { httpTokens, httpEndpoint, hopLimit, instanceTags } = await metadataDefaultsOf(
      context.region.db,
      context.accountId,
    );
    endDryRun(input);
    return {
      AccountLevel: {
        ...(httpTokens === undefined ? {} : { HttpTokens: httpTokens }),
        ...(httpEndpoint === undefined ? {} : { HttpEndpoint: httpEndpoint }),
        ...(hopLimit === undefined ? {} : { HttpPutResponseHopLimit: hopLimit }),
        ...(instanceTags === undefined ? {} : { InstanceMetadataTags: instanceTags }),
      },
    };
  },
};
