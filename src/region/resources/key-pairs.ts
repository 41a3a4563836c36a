/** Key pairs. Private keys are told once and kept nowhere. */
import { PandoError } from '#contracts/errors.ts';
import { newId, parseId } from '#contracts/ids.ts';
import { endDryRun } from '#wire/dryRun.ts';
import type { FilterSpec } from '#wire/filters.ts';
import { applyFilters } from '#wire/filters.ts';
import type { TagSpecification } from '#wire/tags.ts';
import type { Handlers, Out } from '#wire/types.ts';
import { change, lockAccount } from '../change.ts';
import type { ActionContext } from '../context.ts';
import { findAll, withTags } from '../describe.ts';
import { notFound } from '../not-found.ts';
import { deleteTagsOf, insertTags, type Tagged, tagsOnCreate } from '../resource-tags.ts';
import type { Row } from '../schema.ts';
import { createKey, type PublicKeyRecord, readPublicKey } from '../ssh-keys.ts';

type KeyPairInfo = NonNullable<Out<'DescribeKeyPairs'>['KeyPairs']>[number];
type KeyRow = Row<'key_pair'> & Tagged;

const nameCharsMax = 255;

const show = (key: KeyRow, withPublicKey: boolean): KeyPairInfo => ({
  KeyPairId: key.key_pair_id,
  KeyName: key.name,
  KeyType: key.type,
  KeyFingerprint: key.fingerprint,
  CreateTime: key.created_at,
  ...(withPublicKey ? { PublicKey: key.public_key } : {}),
  Tags: key.tags,
});

const filters: FilterSpec<KeyRow> = {
  fingerprint: (key) => key.fingerprint,
  'key-name': (key) => key.name,
  'key-pair-id': (key) => key.key_pair_id,
};

const missing = (parameter: string): PandoError =>
  new PandoError('MissingParameter', `The request must contain the parameter ${parameter}`);

const checkName = (name: string): void => {
  if (name === '') throw missing('KeyName');
  if (name.length > nameCharsMax || name.trim() !== name || !/^[\x20-\x7e]*$/.test(name))
    throw new PandoError(
      'InvalidParameterValue',
      `Value for parameter KeyName is invalid: up to ${nameCharsMax} ASCII characters, no leading or trailing spaces.`,
    );
};

interface NewKeyPair {
  readonly DryRun?: boolean | undefined;
  readonly KeyName: string;
  readonly TagSpecifications?: readonly TagSpecification[] | undefined;
}

const insert = async (context: ActionContext, input: NewKeyPair, key: PublicKeyRecord) => {
  const tags = tagsOnCreate(input.TagSpecifications, 'key-pair');
  const id = newId('keyPair');
  await change(context, input, async (tx) => {
    await lockAccount(tx, context.accountId);
    const own = await tx
      .selectFrom('key_pair')
      .select('name')
      .where('account_id', '=', context.accountId)
      .execute();
    if (own.some((row) => row.name === input.KeyName)) throw duplicate(input.KeyName);
    if (own.length >= context.region.config.limits.keyPairsPerAccountMax)
      throw new PandoError('KeyPairLimitExceeded', 'The maximum number of key pairs has been reached.');
    const { type, fingerprint, publicKey } = key;
    const row = { key_pair_id: id, account_id: context.accountId, name: input.KeyName };
    await tx
      .insertInto('key_pair')
      .values({ ...row, type, fingerprint, public_key: publicKey })
      .execute();
    await insertTags(tx, context.accountId, 'key-pair', id, tags);
  });
  return { KeyPairId: id, KeyName: input.KeyName, KeyFingerprint: key.fingerprint, Tags: tags };
};

const duplicate = (name: string): PandoError =>
  new PandoError('InvalidKeyPair.Duplicate', `The keypair '${name}' already exists.`);

export const keyPairHandlers: Handlers<ActionContext> = {
  async CreateKeyPair(input, context) {
    checkName(input.KeyName);
    const type = input.KeyType ?? 'rsa';
    if (type !== 'rsa' && type !== 'ed25519')
      throw new PandoError('InvalidParameterValue', `Invalid value '${type}' for keyType.`);
    if (input.KeyFormat !== undefined && input.KeyFormat !== 'pem')
      throw new PandoError('UnsupportedOperation', `Key format '${input.KeyFormat}' is not supported.`);
    const key = await createKey(type, input.KeyName);
    return { ...(await insert(context, input, key)), KeyMaterial: key.privateKey };
  },

  async ImportKeyPair(input, context) {
    if (input.PublicKeyMaterial.length === 0) throw missing('PublicKeyMaterial');
    checkName(input.KeyName);
    return insert(context, input, readPublicKey(input.PublicKeyMaterial, input.KeyName));
  },

  async DescribeKeyPairs(input, context) {
    const all = context.region.db
      .selectFrom('key_pair')
      .selectAll()
      .where('account_id', '=', context.accountId)
      .orderBy('name')
      .execute();
    const rows = await withTags(context, 'key-pair', all, (key) => key.key_pair_id);
    const names = findNames(rows, input.KeyNames ?? []);
    const ids = findAll('keyPair', input.KeyPairIds ?? [], (id) =>
      rows.find((key) => key.key_pair_id === id),
    );
    const asked = names.length + ids.length > 0 ? [...new Set([...names, ...ids])] : rows;
    const items = applyFilters(asked, input.Filters, filters, (key) => key.tags);
    endDryRun(input);
    return { KeyPairs: items.map((key) => show(key, input.IncludePublicKey === true)) };
  },

  async DeleteKeyPair(input, context) {
    const { KeyName: name, KeyPairId: id } = input;
    if (name === undefined && id === undefined)
      throw new PandoError('MissingParameter', 'The request must contain the parameter KeyName or KeyPairId');
    const gone = await change(context, input, async (tx) => {
      const deleted = await tx
        .deleteFrom('key_pair')
        .where('account_id', '=', context.accountId)
        .where((row) =>
          id === undefined ? row('name', '=', name ?? '') : row('key_pair_id', '=', parseId('keyPair', id)),
        )
        .returning('key_pair_id')
        .executeTakeFirst();
      if (deleted !== undefined) await deleteTagsOf(tx, deleted.key_pair_id);
      return deleted;
    });
    // One that is not there is deleted already: EC2 says so too.
    return { Return: true, ...(gone === undefined ? {} : { KeyPairId: gone.key_pair_id }) };
  },
};

const findNames = (rows: readonly KeyRow[], names: readonly string[]): KeyRow[] => {
  const missing = names.filter((name) => !rows.some((key) => key.name === name));
  if (missing.length > 0) throw notFound('keyPair', missing);
  return rows.filter((key) => names.includes(key.name));
};
