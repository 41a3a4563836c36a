/**
 * How large the network state of a VPC may grow: every device is told it whole, in one message. Whatever adds to it is checked here,
 * under the VPC's lock. Interfaces are counted at their maximum from the start, so that a launch is never refused for its VPC's size.
 */
import { sql } from 'kysely';
import { frameBytesMax } from '#base/rpc/limits.ts';
import { type ErrorCode, PandoError } from '#contracts/errors.ts';
import { portsPerVpcMax } from '#contracts/network.ts';
import type { RegionTransaction } from './schema.ts';

/** Left for what travels around the state: a guest's metadata and user data, names of methods. */
const reserveBytes = 2 * 1024 * 1024;
export const vpcStateBytesMax = frameBytesMax - reserveBytes;

/** What each takes as JSON at its longest. `test/region/limits.test.ts` holds them to it. */
export const stateBytes = {
  vpc: 4_096,
  rule: 104,
  group: 64,
  subnet: 160,
  route: 112,
  port: 384,
  portGroup: 24,
} as const;

export interface StateCounts {
  readonly rules: number;
  readonly groups: number;
  readonly subnets: number;
  /** Of all subnets together: a table counts for each subnet that it is associated with. */
  readonly routes: number;
}

/** The most that the state of such a VPC takes. */
export const stateBytesOf = (counts: StateCounts, groupsPerInterface: number): number =>
  stateBytes.vpc +
  counts.rules * stateBytes.rule +
  counts.groups * stateBytes.group +
  counts.subnets * stateBytes.subnet +
  counts.routes * stateBytes.route +
  portsPerVpcMax * (stateBytes.port + groupsPerInterface * stateBytes.portGroup);

/** Interfaces may come to carry more groups than now: counted as if all carried the most that a quota can allow. */
const groupsPerInterfaceMax = 16;

const words: Partial<Record<ErrorCode, string>> = {
  RulesPerSecurityGroupLimitExceeded: 'The maximum number of rules',
  RouteLimitExceeded: 'The maximum number of routes',
  SubnetLimitExceeded: 'The maximum number of subnets',
};

/**
 * To be called at the end of a change that adds to a VPC, inside its transaction.
 *
 * @throws `code`, one of EC2's limits, when the VPC's state would no longer fit a message
 */
export const checkVpcBudget = async (
  tx: RegionTransaction,
  vpcId: string,
  code: 'RulesPerSecurityGroupLimitExceeded' | 'RouteLimitExceeded' | 'SubnetLimitExceeded',
): Promise<void> => {
  const { rows } = await sql<StateCounts>`
    select
      (select count(*)::int from security_group_rule r join security_group g using (group_id)
        where g.vpc_id = ${vpcId}) as rules,
      (select count(*)::int from security_group where vpc_id = ${vpcId}) as groups,
      (select count(*)::int from subnet where vpc_id = ${vpcId}) as subnets,
      (select count(*)::int from subnet s
        join route_table_association a on a.vpc_id = s.vpc_id and a.subnet_id is not distinct from
          (select own.subnet_id from route_table_association own where own.subnet_id = s.subnet_id)
        join route r on r.route_table_id = a.route_table_id
        where s.vpc_id = ${vpcId}) as routes`.execute(tx);
  const counts = rows[0] ?? { rules: 0, groups: 0, subnets: 0, routes: 0 };
  const bytes = stateBytesOf(counts, groupsPerInterfaceMax);
  if (bytes > vpcStateBytesMax)
    throw new PandoError(
      code,
      `${words[code]} of VPC '${vpcId}' has been reached: its network state would take ${bytes} of ${vpcStateBytesMax} bytes (${counts.rules} rules, ${counts.routes} routes of ${counts.subnets} subnets).`,
    );
};
