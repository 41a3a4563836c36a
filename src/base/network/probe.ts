/** The VPC of the cards' own guests, as every card works it out from the members. Pure. */
import { type ProbeMember, type ProbeRequest, probeVni, probeVpcId } from '#contracts/card-probe.ts';
import { PandoError } from '#contracts/errors.ts';
import type { VpcPort, VpcState } from '#contracts/network.ts';

export const datagramsPerProbe = 20;
/** Of all the guests, outside of what a member may have: TEST-NET-3 is nobody's. */
export const probeRouter = '203.0.113.1';
const routerRange = '203.0.113.0/24';
const groupId = 'sg-probe';
const subnetId = 'subnet-probe';

/** The member that is this card. @throws InvalidParameterValue */
export const checkMembers = (vtep: string, { members, targets }: ProbeRequest): ProbeMember => {
  const own = members.find((member) => member.vtep === vtep);
  if (own === undefined)
    throw new PandoError('InvalidParameterValue', `The card at ${vtep} is not among the members.`);
  const ips = new Set(members.map(({ ip }) => ip));
  if (ips.size !== members.length || ips.has(probeRouter))
    throw new PandoError('InvalidParameterValue', 'Two members have one address, or one has the router’s.');
  const strange = targets.find((ip) => !ips.has(ip) || ip === own.ip);
  if (strange !== undefined)
    throw new PandoError('InvalidParameterValue', `The target ${strange} is no other member.`);
  return own;
};

/** Says of which card it is: `198.18.1.11` → `02:70:c6:12:01:0b`. */
const macOf = (vtep: string): string =>
  ['02', '70', ...vtep.split('.').map((part) => Number(part).toString(16).padStart(2, '0'))].join(':');

export const probePort = ({ vtep, ip }: ProbeMember): VpcPort => ({
  ...{ eniId: `eni-probe-${vtep.replaceAll('.', '-')}`, instanceId: 'i-probe', mac: macOf(vtep), ip },
  ...{ subnetId, groupIds: [groupId], sourceDestCheck: true, vtep, epoch: 1 },
});

const rangeOf = (ip: string): string => `${ip.split('.').slice(0, 3).join('.')}.0/24`;

export const probeState = (members: readonly ProbeMember[], mtu: number, version: number): VpcState => ({
  ...{ vpcId: probeVpcId, vni: probeVni, version, mtu },
  cidrs: [...new Set([routerRange, ...members.map(({ ip }) => rangeOf(ip))])],
  subnets: [{ subnetId, cidr: routerRange, router: probeRouter, routes: [] }],
  groups: [
    {
      groupId,
      ingress: [{ protocol: '-1', cidr: '0.0.0.0/0' }],
      egress: [{ protocol: '-1', cidr: '0.0.0.0/0' }],
    },
  ],
  ports: members.map(probePort),
  ...{ dnsServers: [], domainName: 'probe.internal' },
});
