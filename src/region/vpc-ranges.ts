/** Which ranges a VPC may have: the first one, and those that are added to it. */
import { sql } from 'kysely';
import { PandoError } from '#contracts/errors.ts';
import { contains, formatNetwork, type Network, overlaps, parseNetwork, requireNetwork } from './ipv4.ts';
import type { Database, RegionTransaction, Row } from './schema.ts';

const prefixMin = 16;
const prefixMax = 28;

const ranges = (...texts: string[]): readonly Network[] => texts.flatMap((text) => parseNetwork(text) ?? []);

/** This network, loopback, link-local, multicast: EC2 gives them to no VPC. */
const never = ranges('0.0.0.0/8', '127.0.0.0/8', '169.254.0.0/16', '224.0.0.0/4');

/** A range that a VPC may have. @throws InvalidParameterValue: no range at all; InvalidVpc.Range */
export const requireVpcRange = (text: string): Network => {
  const network = requireNetwork(text, 'cidrBlock');
  const sized = network.prefix >= prefixMin && network.prefix <= prefixMax;
  if (!sized || never.some((range) => overlaps(range, network)))
    throw new PandoError('InvalidVpc.Range', `The CIDR '${text.slice(0, 64)}' is invalid.`);
  return network;
};

const testRange = '198.19.0.0/16';
const privateRanges = ['10.0.0.0/8', '172.16.0.0/12', '192.168.0.0/16'] as const;

/**
 * Where the first range of a VPC lies → what may not be added to it, as EC2's user guide has it ("IPv4 CIDR block association
 * restrictions"). The first line that fits counts.
 */
const restrictions = [
  { first: '10.0.0.0/15', not: ranges('10.0.0.0/16', '172.16.0.0/12', '192.168.0.0/16', testRange) },
  { first: '10.0.0.0/8', not: ranges('172.16.0.0/12', '192.168.0.0/16', testRange) },
  { first: '172.16.0.0/12', not: ranges('10.0.0.0/8', '192.168.0.0/16', '172.31.0.0/16', testRange) },
  { first: '192.168.0.0/16', not: ranges('10.0.0.0/8', '172.16.0.0/12', testRange) },
  { first: testRange, not: ranges(...privateRanges) },
  { first: '0.0.0.0/0', not: ranges(...privateRanges, testRange) },
].flatMap(({ first, not }) => ranges(first).map((network) => ({ first: network, not })));

/** A range that is added must suit the VPC's first one, and overlap none that it has. @throws InvalidVpc.Range */
export const checkAdded = (added: Network, present: readonly Network[]): void => {
  const [first] = present;
  const shown = formatNetwork(added);
  const rule = restrictions.find((one) => first !== undefined && contains(one.first, first));
  if (present.some((range) => overlaps(range, added)))
    throw new PandoError('InvalidVpc.Range', `The CIDR '${shown}' conflicts with another CIDR of the VPC.`);
  if (rule?.not.some((range) => overlaps(range, added)))
    throw new PandoError(
      'InvalidVpc.Range',
      `The CIDR '${shown}' is restricted. Use a CIDR from the same private address range as the current VPC CIDR, or use a publicly-routable CIDR. For additional restrictions, see https://docs.aws.amazon.com/vpc/latest/userguide/vpc-cidr-blocks.html`,
    );
};

/** The ranges of a VPC as texts, the first one first. */
export const vpcCidrs = async (
  db: Database | RegionTransaction,
  vpc: Pick<Row<'vpc'>, 'vpc_id' | 'cidr'>,
): Promise<readonly string[]> => {
  const { rows } = await sql<{ cidr: string }>`
    select cidr from vpc_cidr_block where vpc_id = ${vpc.vpc_id} order by created_at, association_id`.execute(
    db,
  );
  return [vpc.cidr, ...rows.map(({ cidr }) => cidr)];
};

/** The same as numbers. */
export const vpcNetworks = async (
  db: Database | RegionTransaction,
  vpc: Pick<Row<'vpc'>, 'vpc_id' | 'cidr'>,
): Promise<readonly Network[]> => ranges(...(await vpcCidrs(db, vpc)));
