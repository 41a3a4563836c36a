import { PandoError } from '#contracts/errors.ts';
import type { Tag } from './filters.ts';
import { wireLimits } from './limits.ts';

/** A tag that conforms to EC2's rules. */
export interface ValidTag {
  readonly Key: string;
  readonly Value: string;
}

/** Tags for the resources of one type that a request creates. */
export interface TagSpecification {
  readonly ResourceType?: string | undefined;
  readonly Tags?: readonly Tag[] | undefined;
}

/**
 * The tags of each resource type that a request creates.
 *
 * @param allowed the types that the action creates, such as `['instance', 'volume', 'network-interface']`.
 * @throws `InvalidParameterValue`, `TagLimitExceeded`.
 */
export function parseTagSpecifications<T extends string>(
  specifications: readonly TagSpecification[] | undefined,
  allowed: readonly T[],
): ReadonlyMap<T, readonly ValidTag[]> {
  const tags = new Map<T, readonly ValidTag[]>();
  for (const { ResourceType: given, Tags: list } of specifications ?? []) {
    if (given === undefined || given === '')
      throw invalid('Tag specification resource type must have a value');
    const type = allowed.find((candidate) => candidate === given);
    if (type === undefined) {
      throw invalid(`'${given.slice(0, 64)}' is not a valid taggable resource type for this operation.`);
    }
    if (tags.has(type))
      throw invalid(`The resource type '${type}' is given in more than one tag specification.`);
    if (list === undefined || list.length === 0)
      throw invalid('Tag specification must have at least one tag');
    tags.set(type, validateTags(list));
  }
  return tags;
}

/**
 * Checks the tags that a client gives to one resource.
 *
 * @throws `InvalidParameterValue`, `TagLimitExceeded`.
 */
export function validateTags(tags: readonly Tag[]): readonly ValidTag[] {
  const seen = new Set<string>();
  const valid = tags.map((tag) => validateTag(tag, seen));
  checkCount(valid.length);
  return valid;
}

/**
 * Checks the tags that a client takes from a resource: each names its key, and none is one that only the service sets.
 *
 * @throws `InvalidParameterValue`
 */
export function checkRemovedTags(tags: readonly Tag[]): void {
  for (const { Key: key } of tags) checkKey(key);
}

/**
 * A resource's tags after `CreateTags`: a new value replaces that of the same key.
 *
 * @throws `TagLimitExceeded` if the two together are too many.
 */
export function mergeTags(present: readonly ValidTag[], added: readonly ValidTag[]): readonly ValidTag[] {
  const merged = new Map([...present, ...added].map((tag) => [tag.Key, tag]));
  checkCount([...merged.keys()].filter((key) => !isReserved(key)).length);
  return [...merged.values()];
}

function checkKey(key: string | undefined): asserts key is string {
  if (key === undefined || key === '') throw invalid('Tag key cannot be null or empty.');
  if (isReserved(key)) throw invalid("Tag keys starting with 'aws:' are reserved for internal use");
}

function validateTag({ Key: key, Value: value = '' }: Tag, seen: Set<string>): ValidTag {
  checkKey(key);
  // Counted as people do: a character outside the basic plane is one.
  if ([...key].length > wireLimits.tagKeyCharsMax) {
    throw invalid(`Tag key exceeds the maximum length of ${wireLimits.tagKeyCharsMax} characters`);
  }
  if ([...value].length > wireLimits.tagValueCharsMax) {
    throw invalid(`Tag value exceeds the maximum length of ${wireLimits.tagValueCharsMax} characters`);
  }
  if (seen.has(key)) throw invalid(`Duplicate tag key '${key}' specified.`);
  seen.add(key);
  return { Key: key, Value: value };
}

function isReserved(key: string): boolean {
  return key.toLowerCase().startsWith('aws:');
}

function checkCount(count: number): void {
  if (count <= wireLimits.tagsMax) return;
  throw new PandoError('TagLimitExceeded', `More than ${wireLimits.tagsMax} tags specified`);
}

function invalid(message: string): PandoError {
  return new PandoError('InvalidParameterValue', message);
}
