import { createHash, createHmac, timingSafeEqual } from 'node:crypto';
import { PandoError } from '#contracts/errors.ts';
import { wireLimits } from './limits.ts';

/** The members of an input that pages are made of. */
interface PagedInput {
  readonly MaxResults?: number | undefined;
  readonly NextToken?: string | undefined;
}

/** What an action's pages are like. */
export interface PageRules {
  /** Signs tokens. All replicas of a service share it. */
  readonly secret: string | Uint8Array;
  /** Whose query it is: the account and the action, so that no token serves another. */
  readonly scope: string;
  /** The input's ids, and the name that EC2 gives them in errors (`instancesSet`). They exclude MaxResults. */
  readonly ids?: { readonly parameter: string; readonly values: readonly unknown[] | undefined };
  /** Items in a page without MaxResults. Left out: all of them, up to `pageItemsMax`. */
  readonly itemsDefault?: number;
  readonly itemsMin?: number;
  readonly itemsMax?: number;
  /** A MaxResults above the maximum is the maximum, as EC2 has it with DescribeTags. */
  readonly capped?: true;
}

/** A page that was asked for: at most `items`, after the item whose cursor is `after`. */
export interface PageRequest {
  readonly items: number;
  readonly after: string | undefined;
  /** The token with which a client asks for the items after that cursor. */
  readonly tokenAfter: (cursor: string) => string;
}

/**
 * Reads MaxResults and NextToken. A token holds the cursor of the last item given, not a position, so that
 * items that come or go between two pages neither repeat nor hide others.
 *
 * @throws `InvalidParameterValue` (range, or a token of another query), `InvalidParameterCombination` (ids).
 */
export function readPage(input: PagedInput & object, rules: PageRules): PageRequest {
  const itemsMax = rules.itemsMax ?? wireLimits.pageItemsMax;
  const { MaxResults: given, NextToken: token, ...query } = input;
  const asked = rules.capped && given !== undefined ? Math.min(given, itemsMax) : given;
  if (asked !== undefined) checkMaxResults(asked, rules, itemsMax);
  const mac = (cursor: string) => sign(rules, query, cursor);
  return {
    items: asked ?? rules.itemsDefault ?? itemsMax,
    after: token === undefined ? undefined : openToken(token, mac),
    tokenAfter: (cursor) =>
      `${Buffer.from(cursor).toString('base64url')}.${mac(cursor).toString('base64url')}`,
  };
}

/**
 * Cuts a page out of all matching items, which must be sorted by their cursors in code unit order; cursors
 * must be unique. `bytesOf`: about how large an item is in the answer. A page ends early, with a token, where it would be too large
 * for a message.
 */
export function cutPage<T>(
  items: readonly T[],
  page: PageRequest,
  cursorOf: (item: T) => string,
  bytesOf?: (item: T) => number,
): { readonly items: readonly T[]; readonly nextToken: string | undefined } {
  const { after } = page;
  const rest = after === undefined ? items : items.filter((item) => cursorOf(item) > after);
  const wanted = rest.slice(0, page.items);
  const shown = bytesOf === undefined ? wanted : wanted.slice(0, countWithin(wanted, bytesOf));
  const last = shown.at(-1);
  const more = rest.length > shown.length && last !== undefined;
  return { items: shown, nextToken: more ? page.tokenAfter(cursorOf(last)) : undefined };
}

/** How many items go into one page: one at least. */
function countWithin<T>(items: readonly T[], bytesOf: (item: T) => number): number {
  let bytes = 0;
  const end = items.findIndex((item) => {
    bytes += bytesOf(item);
    return bytes > wireLimits.pageBytesMax;
  });
  return end < 0 ? items.length : Math.max(1, end);
}

function checkMaxResults(asked: number, rules: PageRules, itemsMax: number): void {
  const itemsMin = rules.itemsMin ?? wireLimits.pageItemsMin;
  if (asked < itemsMin) throw outOfRange(asked, `greater than ${itemsMin}`);
  if (asked > itemsMax) throw outOfRange(asked, `less than ${itemsMax}`);
  if (rules.ids?.values !== undefined && rules.ids.values.length > 0) {
    throw new PandoError(
      'InvalidParameterCombination',
      `The parameter ${rules.ids.parameter} cannot be used with the parameter maxResults`,
    );
  }
}

function outOfRange(asked: number, expected: string): PandoError {
  return new PandoError(
    'InvalidParameterValue',
    `Value ( ${asked} ) for parameter maxResults is invalid. Expecting a value ${expected}.`,
  );
}

function sign(rules: PageRules, query: object, cursor: string): Buffer {
  const digest = createHash('sha256').update(canonicalJson(query)).digest('hex');
  return createHmac('sha256', rules.secret)
    .update(JSON.stringify([rules.scope, digest, cursor]))
    .digest();
}

function openToken(token: string, mac: (cursor: string) => Buffer): string {
  const [cursorPart, macPart, ...rest] = token.length > wireLimits.nextTokenCharsMax ? [] : token.split('.');
  if (cursorPart === undefined || macPart === undefined || rest.length > 0) throw invalidToken();
  const cursor = Buffer.from(cursorPart, 'base64url').toString();
  const given = Buffer.from(macPart, 'base64url');
  const expected = mac(cursor);
  if (given.length !== expected.length || !timingSafeEqual(given, expected)) throw invalidToken();
  return cursor;
}

/** EC2's own words for a token that it did not give for this query. */
function invalidToken(): PandoError {
  return new PandoError('InvalidParameterValue', 'Unable to parse pagination token');
}

/** JSON that is the same for the same values, in whatever order their keys were set. */
function canonicalJson(value: unknown): string {
  return JSON.stringify(value, (_key, item: unknown) => {
    if (typeof item !== 'object' || item === null || Array.isArray(item)) return item;
    return Object.fromEntries(Object.entries(item).sort(([a], [b]) => (a < b ? -1 : 1)));
  });
}
