/** Puts back what a VPC's owner had set: its attributes, its set of DHCP options, and the ranges that were added to it. */
import { sql } from 'kysely';
import type { z } from 'zod';
import { canonicalJson } from '#contracts/canonicalJson.ts';
import { PandoError } from '#contracts/errors.ts';
import type { vpcBody } from '#contracts/network-objects.ts';
import { type DhcpEntry, dhcpOf } from '../dhcp-configuration.ts';
import { parseNetwork } from '../ipv4.ts';
import type { NetworkSettings } from '../network-state.ts';
import { addRange, removeRange } from '../resources/vpc-cidr-blocks.ts';
import type { RegionTransaction, Row } from '../schema.ts';
import { attributesAt, type VpcAttributes } from './settings.ts';

type Body = z.output<typeof vpcBody>;

export interface FormerSettings {
  readonly vpc: Row<'vpc'>;
  /** Of the VPC, at which devices were told `body`. */
  readonly version: number;
  readonly body: Body;
  readonly network: NetworkSettings;
}

/** Answers what goes and comes; empty: it is so now. @throws IncorrectState, InvalidCidrBlock.InUse, InvalidVpc.Range: nothing is changed */
export const restoreSettings = async (tx: RegionTransaction, former: FormerSettings): Promise<string[]> => {
  const { vpc, body } = former;
  if (vpc.vni !== body.vni || vpc.cidr !== body.cidrs[0])
    throw new PandoError('IncorrectState', `${vpc.vpc_id} is not the VPC that this version is of.`);
  const ranges = await restoreRanges(tx, vpc, body.cidrs.slice(1));
  return [...ranges, ...(await restoreAttributes(tx, former))];
};

const restoreAttributes = async (tx: RegionTransaction, former: FormerSettings): Promise<string[]> => {
  const { vpc, version, body, network } = former;
  const noted = await attributesAt(tx, vpc.vpc_id, version);
  const now = attributesOf(vpc);
  const wanted = {
    ...(noted ?? impliedBy(body, now, network)),
    dhcpOptionsId: await dhcpSet(tx, former, noted),
  };
  const set = {
    dns_support: wanted.dnsSupport,
    dns_hostnames: wanted.dnsHostnames,
    address_usage_metrics: wanted.addressUsageMetrics,
    dhcp_options_id: wanted.dhcpOptionsId,
  };
  const lines = attributeNames.flatMap((name) =>
    wanted[name] === now[name]
      ? []
      : [`- ${name} ${now[name] ?? 'default'}`, `+ ${name} ${wanted[name] ?? 'default'}`],
  );
  if (lines.length > 0) await tx.updateTable('vpc').set(set).where('vpc_id', '=', vpc.vpc_id).execute();
  return lines;
};

const attributeNames = ['dnsSupport', 'dnsHostnames', 'addressUsageMetrics', 'dhcpOptionsId'] as const;

const attributesOf = (vpc: Row<'vpc'>): VpcAttributes => ({
  dnsSupport: vpc.dns_support,
  dnsHostnames: vpc.dns_hostnames,
  addressUsageMetrics: vpc.address_usage_metrics,
  dhcpOptionsId: vpc.dhcp_options_id,
});

/** From before attributes were written down: the least change from which the same follows for devices. */
const impliedBy = (body: Body, now: VpcAttributes, network: NetworkSettings): VpcAttributes => {
  const named = body.publicDomainName !== undefined;
  if (network.publicDomainName === undefined || named === (now.dnsSupport && now.dnsHostnames)) return now;
  return named ? { ...now, dnsSupport: true, dnsHostnames: true } : { ...now, dnsHostnames: false };
};

/** A set never changes: the one that it was, or another that says the same to guests. */
const dhcpSet = async (
  tx: RegionTransaction,
  { vpc, body, network }: FormerSettings,
  noted: VpcAttributes | undefined,
): Promise<string | null> => {
  if (noted?.dhcpOptionsId === null) return null;
  const { rows } = await sql<{ id: string; configuration: DhcpEntry[] }>`
    select dhcp_options_id as id, configuration from dhcp_options where account_id = ${vpc.account_id}
    order by dhcp_options_id`.execute(tx);
  if (rows.some(({ id }) => id === noted?.dhcpOptionsId)) return noted?.dhcpOptionsId ?? null;
  const wanted = toldOf(body);
  const same = (entries: readonly DhcpEntry[] | null): boolean =>
    toldOf(dhcpOf(entries, network.dnsServers)) === wanted;
  const fitting = rows.filter(({ configuration }) => same(configuration)).map(({ id }) => id);
  const present = fitting.find((id) => id === vpc.dhcp_options_id) ?? fitting[0];
  if (present !== undefined) return present;
  if (noted === undefined && same(null)) return null;
  throw new PandoError(
    'IncorrectState',
    `The set of DHCP options ${noted?.dhcpOptionsId ?? 'of that version'} is there no more, and no other says the same: it cannot be put back.`,
  );
};

const toldOf = ({ dnsServers, domainName, dhcp }: Pick<Body, 'dnsServers' | 'domainName' | 'dhcp'>): string =>
  canonicalJson({ dnsServers, domainName, ...(dhcp === undefined ? {} : { dhcp }) });

const restoreRanges = async (
  tx: RegionTransaction,
  vpc: Row<'vpc'>,
  wanted: readonly string[],
): Promise<string[]> => {
  const present = await blocksOf(tx, vpc.vpc_id);
  const gone = present.filter(({ cidr }) => !wanted.includes(cidr));
  const added = wanted.filter((cidr) => !present.some((block) => block.cidr === cidr));
  // First what goes: it makes room for what comes.
  for (const block of gone) await removeRange(tx, block);
  for (const cidr of added) {
    const network = parseNetwork(cidr);
    if (network === undefined) throw new PandoError('IncorrectState', `${cidr} is no range.`);
    await addRange(tx, vpc.account_id, vpc, network);
  }
  if (added.length > 0) await order(tx, vpc.vpc_id, wanted);
  return [...gone.map(({ cidr }) => `- cidr ${cidr}`), ...added.map((cidr) => `+ cidr ${cidr}`)];
};

const blocksOf = (tx: RegionTransaction, vpcId: string): Promise<Row<'vpc_cidr_block'>[]> =>
  tx
    .selectFrom('vpc_cidr_block')
    .selectAll()
    .where('vpc_id', '=', vpcId)
    .orderBy('created_at')
    .orderBy('association_id')
    .execute();

/** Devices are told ranges by age: in the same order it is the very same content again. */
const order = async (tx: RegionTransaction, vpcId: string, cidrs: readonly string[]): Promise<void> => {
  await sql`
    update vpc_cidr_block b set created_at = now() + w.place * interval '1 microsecond'
    from unnest(${[...cidrs]}::text[]) with ordinality as w (cidr, place)
    where b.vpc_id = ${vpcId} and b.cidr = w.cidr`.execute(tx);
};
