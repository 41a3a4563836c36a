/**
 * Constraints of a group of slots (S4): which hosts a VM may have a slot on, beside having room there. Pure: who places asks it of the
 * view and, under the group's lock, of the store; who explains asks for the reason; who mends asks which members violate it.
 */
import { type Amount, countOf } from './amount.ts';
import type { HostFacts } from './slot-map.ts';

/**
 * EC2's strategies. `spread`: no host has two members. `cluster`: all members are in one rack, on as few hosts as there is room on.
 * `partition`: a host has members of one partition alone.
 */
export const strategies = ['cluster', 'spread', 'partition'] as const;
export type Strategy = (typeof strategies)[number];

/** Where a member has a slot: its host, the other host of its migration, or the host that keeps its disk. */
export interface Member {
  readonly holder: string;
  readonly hostId: string;
  /** Hosts that told of none are one rack together. */
  readonly rack: string;
  readonly partition?: number;
}

export interface GroupNeeds {
  readonly groupId: string;
  readonly strategy: Strategy;
  /** Of a partition group: the member's. */
  readonly partition?: number;
  /** Of a cluster group without members: the rack that was chosen for it. */
  readonly rack?: string;
  readonly members: readonly Member[];
}

export interface Needs {
  /** What the host must be able to do (`kvm`, `avx2` …). */
  readonly capabilities?: readonly string[];
  /** Whose VM it is. */
  readonly accountId?: string;
  /** No other account's VM may be on the host. */
  readonly dedicated?: boolean;
  readonly group?: GroupNeeds;
}

export const constraintKinds = ['capability', 'tenancy', 'spread', 'cluster', 'partition'] as const;
export type ConstraintKind = (typeof constraintKinds)[number];

/** Why a host is excluded. */
export interface Obstacle {
  readonly constraint: ConstraintKind;
  /** For people. */
  readonly detail: string;
}

type Place = Pick<HostFacts, 'hostId' | 'capabilities' | 'rack' | 'dedicatedTo' | 'accounts'>;

const capabilityObstacle = (
  { capabilities }: Place,
  wanted: readonly string[] = [],
): Obstacle | undefined => {
  const missing = wanted.filter((each) => !capabilities.has(each));
  return missing.length === 0
    ? undefined
    : { constraint: 'capability', detail: `it has no ${missing.join(', ')}` };
};

const tenancyObstacle = (place: Place, { accountId, dedicated }: Needs): Obstacle | undefined => {
  if (place.dedicatedTo !== undefined && place.dedicatedTo !== accountId)
    return { constraint: 'tenancy', detail: 'it is dedicated to another account' };
  if (dedicated !== true || [...(place.accounts ?? [])].every((each) => each === accountId)) return undefined;
  return { constraint: 'tenancy', detail: 'it has VMs of other accounts' };
};

/** Why the group excludes the host; undefined: it does not. */
export const groupObstacle = (place: Place, group: GroupNeeds): Obstacle | undefined => {
  const { groupId, strategy, partition, members } = group;
  const here = members.filter(({ hostId }) => hostId === place.hostId);
  switch (strategy) {
    case 'spread': {
      const [other] = here;
      return other && { constraint: 'spread', detail: `${groupId} has ${other.holder} there already` };
    }
    case 'partition': {
      const other = here.find((member) => member.partition !== partition);
      return (
        other && {
          constraint: 'partition',
          detail: `${groupId} has partition ${other.partition ?? 'unknown'} there`,
        }
      );
    }
    case 'cluster': {
      const rack = rackOf(group);
      return rack === undefined || (place.rack ?? '') === rack
        ? undefined
        : { constraint: 'cluster', detail: `${groupId} is in the rack '${rack}'` };
    }
  }
};

/**
 * The members that a holder's next place is compared with. It leaves its own place for the next one; but of a cluster group, which would be
 * in two racks if somebody joined meanwhile.
 */
export const othersOf = (
  strategy: Strategy,
  members: readonly Member[],
  holder: string,
): readonly Member[] =>
  strategy === 'cluster' ? members : members.filter((member) => member.holder !== holder);

/** The rack that most members of a cluster group are in, of equal ones the first by name; without members, the chosen one. */
export const rackOf = ({ members, rack }: Pick<GroupNeeds, 'members' | 'rack'>): string | undefined => {
  const counts = new Map<string, number>();
  for (const member of members) counts.set(member.rack, (counts.get(member.rack) ?? 0) + 1);
  const [most] = [...counts].sort(([a, n], [b, m]) => m - n || (a < b ? -1 : 1));
  return most?.[0] ?? rack;
};

/** The first constraint that excludes the host; undefined: none does. Room is not looked at. */
export const obstacleOf = (place: Place, needs: Needs): Obstacle | undefined =>
  capabilityObstacle(place, needs.capabilities) ??
  tenancyObstacle(place, needs) ??
  (needs.group && groupObstacle(place, needs.group));

/**
 * Hosts in the order of the group: those that have members come first. Of a cluster group they are the nearest; of a partition they keep
 * others free for other partitions.
 */
export const nearestFirst = (
  hostIds: readonly string[],
  group: GroupNeeds | undefined,
): readonly string[] => {
  if (group === undefined || group.strategy === 'spread') return hostIds;
  const near = new Set(group.members.map(({ hostId }) => hostId));
  return [...hostIds.filter((id) => near.has(id)), ...hostIds.filter((id) => !near.has(id))];
};

/** Partitions in the order in which they are due: those with the fewest members first, of equal ones the lowest. */
export const duePartitions = (partitions: number, members: readonly Member[]): readonly number[] => {
  const holders = new Map<number, Set<string>>();
  for (const { partition, holder } of members)
    if (partition !== undefined) holders.set(partition, (holders.get(partition) ?? new Set()).add(holder));
  const count = (partition: number): number => holders.get(partition)?.size ?? 0;
  return Array.from({ length: partitions }, (_, at) => at + 1).sort((a, b) => count(a) - count(b) || a - b);
};

/** The rack with room for the most of these, up to `count`; of equal ones the first by name. Undefined: no open host. */
export const roomiestRack = (
  hosts: readonly { readonly facts: HostFacts; readonly free: Amount }[],
  amount: Amount,
  count: number,
): string | undefined => {
  const room = new Map<string, number>();
  for (const { facts, free } of hosts) {
    if (!facts.open) continue;
    const rack = facts.rack ?? '';
    room.set(rack, Math.min(count, (room.get(rack) ?? 0) + countOf(free, amount)));
  }
  return [...room].sort(([a, n], [b, m]) => m - n || (a < b ? -1 : 1))[0]?.[0];
};

export interface Violation {
  readonly holder: string;
  readonly hostId: string;
  readonly constraint: ConstraintKind;
}

/**
 * The members that have to go elsewhere for the group's constraint to hold again: as few as will do. `members` are in the order in which
 * they are to be kept.
 */
export const violationsOf = ({ strategy, members }: Omit<GroupNeeds, 'groupId'>): Violation[] => {
  if (strategy === 'cluster') {
    const rack = rackOf({ members });
    return members
      .filter((member) => member.rack !== rack)
      .map(({ holder, hostId }) => ({ holder, hostId, constraint: strategy }));
  }
  const kept = new Map<string, Member>();
  const wrong: Violation[] = [];
  for (const member of members) {
    const first = kept.get(member.hostId);
    if (first === undefined) kept.set(member.hostId, member);
    else if (
      first.holder !== member.holder &&
      (strategy === 'spread' || first.partition !== member.partition)
    )
      wrong.push({ holder: member.holder, hostId: member.hostId, constraint: strategy });
  }
  return wrong;
};
