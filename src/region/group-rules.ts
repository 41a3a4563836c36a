/**
 * The rules of security groups as devices are told them, kept between pushes: most pushes carry a changed place and the same rules. A
 * group's revision is drawn anew with each change of its rules, so that a store that forgot a change cannot give it to another one.
 */
import { type QueryExecutorProvider, sql } from 'kysely';
import { encodeOnce } from '#base/rpc/json.ts';
import type { SecurityRule, VpcState } from '#contracts/network.ts';

export type GroupState = VpcState['groups'][number];

interface RuleRow {
  groupId: string;
  egress: boolean;
  protocol: string;
  fromPort: number | null;
  toPort: number | null;
  cidr: string | null;
  peer: string | null;
}

interface Kept {
  readonly revision: string;
  readonly group: GroupState;
  readonly rules: number;
}

/** Some 250 bytes each, with their JSON. */
const rulesKeptMax = 400_000;

export class GroupRules {
  /** The one used last comes last. */
  readonly #kept = new Map<string, Kept>();
  #rules = 0;

  /** The groups with their rules, in the order given. Rules that are newer than a revision say so with the next one. */
  async of(
    db: QueryExecutorProvider,
    groups: readonly { readonly groupId: string; readonly revision: string }[],
  ): Promise<GroupState[]> {
    const missing = groups.filter(({ groupId, revision }) => this.#kept.get(groupId)?.revision !== revision);
    const found = new Map(
      (
        await readRules(
          db,
          missing.map(({ groupId }) => groupId),
        )
      ).map((group) => [group.groupId, group]),
    );
    const result = groups.map(({ groupId, revision }) => {
      const group =
        found.get(groupId) ??
        this.#kept.get(groupId)?.group ??
        encodeOnce({ groupId, ingress: [], egress: [] });
      this.#keep(revision, group);
      return group;
    });
    this.#shrink();
    return result;
  }

  #keep(revision: string, group: GroupState): void {
    this.#rules -= this.#kept.get(group.groupId)?.rules ?? 0;
    this.#kept.delete(group.groupId);
    const rules = group.ingress.length + group.egress.length + 1;
    this.#kept.set(group.groupId, { revision, group, rules });
    this.#rules += rules;
  }

  #shrink(): void {
    for (const [groupId, { rules }] of this.#kept) {
      if (this.#rules <= rulesKeptMax) return;
      this.#kept.delete(groupId);
      this.#rules -= rules;
    }
  }
}

/** In the order of what rules say, not of their ids: a group whose rules came back under new ids has the very same content again. */
const readRules = async (db: QueryExecutorProvider, groupIds: readonly string[]): Promise<GroupState[]> => {
  if (groupIds.length === 0) return [];
  const { rows } = await sql<RuleRow>`
    select group_id as "groupId", egress, protocol, from_port as "fromPort", to_port as "toPort", cidr,
      referenced_group_id as peer
    from security_group_rule where group_id = any(${groupIds}::text[])
    order by protocol collate "C", from_port, to_port, cidr collate "C", referenced_group_id collate "C"`.execute(
    db,
  );
  const byGroup = Map.groupBy(rows, (rule) => rule.groupId);
  return groupIds.map((groupId) => {
    const own = byGroup.get(groupId) ?? [];
    return encodeOnce({
      groupId,
      ingress: own.filter((rule) => !rule.egress).map(ruleOf),
      egress: own.filter((rule) => rule.egress).map(ruleOf),
    });
  });
};

/** As devices are told it. */
export const ruleOf = (
  rule: Pick<RuleRow, 'protocol' | 'fromPort' | 'toPort' | 'cidr' | 'peer'>,
): SecurityRule => ({
  protocol: rule.protocol,
  ...(rule.fromPort === null ? {} : { fromPort: rule.fromPort }),
  ...(rule.toPort === null ? {} : { toPort: rule.toPort }),
  ...(rule.cidr === null ? {} : { cidr: rule.cidr }),
  ...(rule.peer === null ? {} : { groupId: rule.peer }),
});
