/** The metadata of one VM as the tree that EC2's clients walk. */
import type { VmMetadata, VpcPort, VpcState } from '#contracts/network.ts';

/** A directory maps names to entries; a file is text or bytes. What is undefined is not there. */
export type Tree = { readonly [name: string]: Tree | string | Buffer | undefined };

export interface MetadataSubject {
  readonly metadata: VmMetadata;
  readonly port: VpcPort;
  readonly vpc: Pick<VpcState, 'vpcId' | 'cidrs' | 'subnets'>;
}

/** API versions that clients ask for; all answer the same. */
export const apiVersions = [
  '1.0',
  '2007-01-19',
  '2007-03-01',
  '2007-08-29',
  '2007-10-10',
  '2007-12-15',
  '2008-02-01',
  '2008-09-01',
  '2009-04-04',
  '2011-01-01',
  '2011-05-01',
  '2012-01-12',
  '2014-02-25',
  '2014-11-05',
  '2015-10-20',
  '2016-04-19',
  '2016-06-30',
  '2016-09-02',
  '2018-03-28',
  '2018-08-17',
  '2018-09-24',
  '2019-10-01',
  '2020-10-27',
  '2021-01-03',
  '2021-03-23',
  '2021-07-15',
  '2022-09-24',
  'latest',
] as const;

/** Everything under an API version. */
export const versionTree = (subject: MetadataSubject): Tree => {
  const { metadata } = subject;
  return {
    dynamic: { 'instance-identity': { document: identityDocument(subject) } },
    'meta-data': metadataTree(subject),
    'user-data': metadata.userData === undefined ? undefined : Buffer.from(metadata.userData, 'base64'),
  };
};

const metadataTree = (subject: MetadataSubject): Tree => {
  const { metadata, port } = subject;
  return {
    'ami-id': metadata.imageId,
    'ami-launch-index': String(metadata.launchIndex),
    'ami-manifest-path': '(unknown)',
    'block-device-mapping': { ami: '/dev/sda1', root: '/dev/sda1' },
    hostname: metadata.hostname,
    'instance-action': 'none',
    'instance-id': metadata.instanceId,
    'instance-life-cycle': 'on-demand',
    'instance-type': metadata.instanceType,
    'local-hostname': metadata.hostname,
    'local-ipv4': port.ip,
    mac: port.mac,
    network: { interfaces: { macs: { [port.mac]: interfaceTree(subject) } } },
    placement: { 'availability-zone': metadata.availabilityZone, region: metadata.region },
    'public-ipv4': port.publicIp,
    'public-keys':
      metadata.publicKey === undefined ? undefined : { '0': { 'openssh-key': metadata.publicKey } },
    'reservation-id': metadata.reservationId,
    'security-groups': port.groupIds.join('\n'),
    services: { domain: 'amazonaws.com', partition: 'aws' },
  };
};

const interfaceTree = ({ metadata, port, vpc }: MetadataSubject): Tree => {
  const subnet = vpc.subnets.find(({ subnetId }) => subnetId === port.subnetId);
  return {
    'device-number': '0',
    'interface-id': port.eniId,
    'ipv4-associations': port.publicIp === undefined ? undefined : { [port.publicIp]: port.ip },
    'public-ipv4s': port.publicIp,
    'local-hostname': metadata.hostname,
    'local-ipv4s': port.ip,
    mac: port.mac,
    'network-card': '0',
    'owner-id': metadata.accountId,
    'security-group-ids': port.groupIds.join('\n'),
    'security-groups': port.groupIds.join('\n'),
    'subnet-id': port.subnetId,
    'subnet-ipv4-cidr-block': subnet?.cidr,
    'vpc-id': vpc.vpcId,
    'vpc-ipv4-cidr-block': vpc.cidrs[0] ?? '',
    'vpc-ipv4-cidr-blocks': vpc.cidrs.join('\n'),
  };
};

const architectures: Readonly<Record<string, string>> = { x64: 'x86_64', arm64: 'arm64' };

const identityDocument = ({ metadata, port }: MetadataSubject): string =>
  JSON.stringify(
    {
      accountId: metadata.accountId,
      architecture: architectures[process.arch] ?? process.arch,
      availabilityZone: metadata.availabilityZone,
      billingProducts: null,
      devpayProductCodes: null,
      marketplaceProductCodes: null,
      imageId: metadata.imageId,
      instanceId: metadata.instanceId,
      instanceType: metadata.instanceType,
      kernelId: null,
      pendingTime: metadata.launchTime,
      privateIp: port.ip,
      ramdiskId: null,
      region: metadata.region,
      version: '2017-09-30',
    },
    null,
    2,
  );

/** What a path below the tree holds: a file's contents, a directory's listing, or undefined. */
export const lookUp = (
  tree: Tree,
  path: readonly string[],
  keyName: string | undefined,
): string | Buffer | undefined => {
  let at: Tree | string | Buffer = tree;
  for (const name of path) {
    if (typeof at === 'string' || Buffer.isBuffer(at)) return undefined;
    const next: Tree[string] = Object.hasOwn(at, name) ? at[name] : undefined;
    if (next === undefined) return undefined;
    at = next;
  }
  if (typeof at === 'string' || Buffer.isBuffer(at)) return at;
  // The one listing that is not names: index=name of the key.
  if (path.at(-1) === 'public-keys') return `0=${keyName ?? 'key'}`;
  return Object.entries(at)
    .filter(([, entry]) => entry !== undefined)
    .map(([name, entry]) => (typeof entry === 'string' || Buffer.isBuffer(entry) ? name : `${name}/`))
    .sort()
    .join('\n');
};
