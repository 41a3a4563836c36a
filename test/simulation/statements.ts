/** What there is to know of a statement by its text, worked out once: a run has the same few hundred, some of them ten thousand times. */

export interface StatementParts {
  readonly writes: boolean;
  readonly rollsBack: boolean;
  /** Of claims or hosts, and more than that a host was heard. */
  readonly touchesCapacity: boolean;
  readonly touchesHolds: boolean;
  /** It gives back, or exchanges, what VMs take. */
  readonly releases: boolean;
  /** A workflow is moved on, which only its owner may. */
  readonly moves: boolean;
  readonly bytes: Buffer;
}

const writes = /\b(?:insert|update|delete)\b/i;
const rollsBack = /^\s*rollback/i;
const touchesCapacity = /\b(?:claims|hosts)\b/;
const saysHeardOnly = /update hosts set heard_at|update hosts h? ?set heard_at/i;
const touchesHolds = /\bcapacity_offers\b|(?:delete from|insert into|update) claims\b/;
const releases = /\bdelete from claims\b|\bupdate claims\b/;
const moves = /\bupdate workflows set state\b[^;]*\bstep_cursor\b/;
const shownChars = 70;

const known = new Map<string, StatementParts>();
/** Statements whose values are in their texts are not kept. */
const knownMax = 10_000;

export const partsOf = (sql: string): StatementParts => {
  const found = known.get(sql);
  if (found !== undefined) return found;
  const parts: StatementParts = {
    writes: writes.test(sql),
    rollsBack: rollsBack.test(sql),
    touchesCapacity: touchesCapacity.test(sql) && !saysHeardOnly.test(sql),
    touchesHolds: touchesHolds.test(sql),
    releases: releases.test(sql),
    moves: moves.test(sql),
    bytes: Buffer.from(sql),
  };
  if (known.size < knownMax) known.set(sql, parts);
  return parts;
};

export const textBytes = (sql: string): Buffer => partsOf(sql).bytes;

/** Its beginning, for people. */
export const shownOf = (sql: string): string => sql.replaceAll(/\s+/g, ' ').trim().slice(0, shownChars);
