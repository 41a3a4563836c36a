/** The metadata of one VM as the tree that EC2's clients walk. */
import type { GuestProfile } from '#contracts/metadata.ts';
import type { VmMetadata, VpcPort, VpcState } from '#contracts/network.ts';

/** A directory maps names to entries; a file is text or bytes. What is undefined is not there. */
export type Tree = { readonly [name: string]: Tree | string | Buffer | undefined };

export interface MetadataSubject {
  readonly metadata: VmMetadata;
  readonly port: VpcPort;
  readonly vpc: Pick<VpcState, 'vpcId' | 'cidrs' | 'subnets' | 'publicDomainName'>;
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
    dynamic: {
      fws: { 'instance-monitoring': metadata.monitoring ? 'enabled' : 'disabled' },
      'instance-identity': identityTree(subject),
    },
    'meta-data': metadataTree(subject),
    'user-data': metadata.userData === undefined ? undefined : Buffer.from(metadata.userData, 'base64'),
  };
};

/** The region's key is RSA: what EC2 has under two names, for a DSA and an RSA key, is one here. */
const identityTree = (subject: MetadataSubject): Tree => {
  const { identity } = subject.metadata;
  return {
    document: identity?.document ?? identityDocument(subject),
    pkcs7: identity?.pkcs7,
    rsa2048: identity?.pkcs7,
    signature: identity?.signature,
  };
};

/** Rows and cards of the last release know no name: those are the ones that it showed. */
const rootDeviceDefault = '/dev/sda1';

const metadataTree = (subject: MetadataSubject): Tree => {
  const { metadata, port } = subject;
  const root = metadata.rootDeviceName ?? rootDeviceDefault;
  return {
    'ami-id': metadata.imageId,
    'ami-launch-index': String(metadata.launchIndex),
    'ami-manifest-path': '(unknown)',
    'block-device-mapping': { ami: root, root },
    // Nothing is planned: EC2 has empty lists then. A recommendation to leave is not there until it is given (404).
    events: { maintenance: { history: '[]', scheduled: '[]' } },
    hostname: metadata.hostname,
    iam: metadata.profile && profileTree(metadata.profile, metadata.launchTime),
    'instance-action': 'none',
    'instance-id': metadata.instanceId,
    'instance-life-cycle': 'on-demand',
    'instance-type': metadata.instanceType,
    'local-hostname': metadata.hostname,
    'local-ipv4': port.ip,
    mac: port.mac,
    metrics: { vhostmd: '<?xml version="1.0" encoding="UTF-8"?>' },
    network: { interfaces: { macs: { [port.mac]: interfaceTree(subject) } } },
    placement: {
      'availability-zone': metadata.availabilityZone,
      'availability-zone-id': metadata.availabilityZoneId,
      'group-name': metadata.placementGroup,
      'partition-number':
        metadata.partitionNumber === undefined ? undefined : String(metadata.partitionNumber),
      region: metadata.region,
    },
    profile: 'default-hvm',
    'public-hostname': publicHostname(subject),
    'public-ipv4': port.publicIp,
    'public-keys':
      metadata.publicKey === undefined ? undefined : { '0': { 'openssh-key': metadata.publicKey } },
    'reservation-id': metadata.reservationId,
    'security-groups': groupNames(subject).join('\n'),
    services: { domain: 'amazonaws.com', partition: 'aws' },
    system: 'nitro',
    tags:
      metadata.tags === undefined
        ? undefined
        : { instance: Object.fromEntries(metadata.tags.map(({ Key, Value }) => [Key, Value])) },
  };
};

/** A profile that has been deleted is still named, and says so: its role is not there any more. */
const profileTree = ({ arn, profileId, name, credentials }: GuestProfile, launchTime: string): Tree => ({
  info: json(
    credentials === undefined
      ? {
          Code: 'InstanceProfileNotFound',
          Message: 'Instance Profile Not Found',
          LastUpdated: launchTime,
        }
      : {
          Code: 'Success',
          LastUpdated: credentials.lastUpdated,
          InstanceProfileArn: arn,
          InstanceProfileId: profileId,
        },
  ),
  'security-credentials':
    credentials === undefined
      ? undefined
      : {
          [name]: json({
            Code: 'Success',
            LastUpdated: credentials.lastUpdated,
            Type: 'AWS-HMAC',
            AccessKeyId: credentials.accessKeyId,
            SecretAccessKey: credentials.secretAccessKey,
            Token: credentials.token,
            Expiration: credentials.expiration,
          }),
        },
});

const json = (document: Readonly<Record<string, string>>): string => JSON.stringify(document, null, 2);

/** The name that DescribeInstances shows, where there is one. */
const publicHostname = ({ port, vpc }: MetadataSubject): string | undefined =>
  port.publicIp === undefined || vpc.publicDomainName === undefined
    ? undefined
    : `ec2-${port.publicIp.replaceAll('.', '-')}.${vpc.publicDomainName}`;

/** Of the groups that the port carries now. A name that has not been told yet is a moment later: until then the id stands for it. */
const groupNames = ({ metadata, port }: MetadataSubject): string[] =>
  port.groupIds.map((id) => metadata.groups?.find(({ groupId }) => groupId === id)?.groupName ?? id);

const interfaceTree = (subject: MetadataSubject): Tree => {
  const { metadata, port, vpc } = subject;
  const subnet = vpc.subnets.find(({ subnetId }) => subnetId === port.subnetId);
  return {
    'device-number': '0',
    'interface-id': port.eniId,
    'ipv4-associations': port.publicIp === undefined ? undefined : { [port.publicIp]: port.ip },
    'local-hostname': metadata.hostname,
    'local-ipv4s': port.ip,
    mac: port.mac,
    'network-card': '0',
    'owner-id': metadata.accountId,
    'public-hostname': publicHostname(subject),
    'public-ipv4s': port.publicIp,
    'security-group-ids': port.groupIds.join('\n'),
    'security-groups': groupNames(subject).join('\n'),
    'subnet-id': port.subnetId,
    'subnet-ipv4-cidr-block': subnet?.cidr,
    'vpc-id': vpc.vpcId,
    'vpc-ipv4-cidr-block': vpc.cidrs[0] ?? '',
    'vpc-ipv4-cidr-blocks': vpc.cidrs.join('\n'),
  };
};

const architectures: Readonly<Record<string, string>> = { x64: 'x86_64', arm64: 'arm64' };

/** Unsigned, for where the region has no key. */
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
  // The listing of a version is of plain names, as EC2's is.
  if (path.length === 0) return namesOf(at).join('\n');
  // The one listing that is not names: index=name of the key.
  if (path.at(-1) === 'public-keys') return `0=${keyName ?? 'key'}`;
  return namesOf(at)
    .map((name) => (typeof at[name] === 'string' || Buffer.isBuffer(at[name]) ? name : `${name}/`))
    .join('\n');
};

const namesOf = (tree: Tree): string[] =>
  Object.keys(tree)
    .filter((name) => tree[name] !== undefined)
    .sort();
