/** The VM by which a rebuilt host shows itself fit: in a VPC of its own that exists on that host's card alone. */
import { PandoError } from '#contracts/errors.ts';
import type { HostWanted } from '#contracts/rebuild.ts';
import type { CellServices } from '../services.ts';

const nil = '0'.repeat(17);
const [vpcId, subnetId, eniId] = [`vpc-${nil}`, `subnet-${nil}`, `eni-${nil}`];
/** The region numbers its VPCs from 4096 on. The card is shut off from the underlay meanwhile. */
const vni = 4_095;
const [cidr, router, ip] = ['169.254.192.0/24', '169.254.192.1', '169.254.192.10'];
const validationAccount = '000000000000';

export interface ValidatedHost {
  readonly vtep: string;
  readonly validationInstanceId: string;
  readonly epoch: number;
}

/** @throws IncorrectState where the region has no public image */
export const validationOf = async (
  { region, identity, clock }: CellServices,
  { vtep, validationInstanceId: instanceId, epoch }: ValidatedHost,
): Promise<NonNullable<HostWanted['validation']>> => {
  const { image } = await region.call('region.validationImage', {});
  if (image === undefined)
    throw new PandoError(
      'IncorrectState',
      'The region has no public image for a validation launch: register one.',
    );
  const { imageId, digest, minMemoryMib, diskVirtualMib } = image;
  const port = {
    ...{ eniId, instanceId, mac: '06:00:00:00:00:0a', ip, subnetId, groupIds: [], sourceDestCheck: true },
    ...{ vtep, epoch },
  };
  return {
    instanceId,
    image: { imageId, digest },
    requirement: { vcpus: 1, memoryMib: minMemoryMib, rootDiskMib: diskVirtualMib },
    port,
    vpc: {
      ...{
        vpcId,
        vni,
        version: Math.max(1, epoch),
        cidrs: [cidr],
        groups: [],
        ports: [port],
        dnsServers: [],
      },
      subnets: [{ subnetId, cidr, router, routes: [{ destination: cidr, target: { kind: 'local' } }] }],
      ...{ domainName: 'validation.internal', mtu: 1400 },
    },
    metadata: {
      ...{ instanceId, accountId: validationAccount, imageId, instanceType: 'validation', launchIndex: 0 },
      ...{ reservationId: `r-${nil}`, hostname: `ip-${ip.replaceAll('.', '-')}.validation.internal` },
      ...{ availabilityZone: identity.zone, region: identity.region, httpTokens: 'optional' as const },
      ...{ httpEndpoint: 'enabled' as const, hopLimit: 1, launchTime: new Date(clock.now()).toISOString() },
    },
  };
};
