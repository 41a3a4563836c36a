/** The network part of RunInstances: members of the request itself, or the one interface that it specifies. */
import { PandoError } from '#contracts/errors.ts';
import type { In } from '#wire/types.ts';

type Input = In<'RunInstances'>;
type Interface = NonNullable<Input['NetworkInterfaces']>[number];

export interface NetworkPart {
  readonly subnetId?: string;
  readonly groupIds: readonly string[];
  readonly groupNames: readonly string[];
  readonly privateIp?: string;
  /** Undefined: as the subnet says. */
  readonly publicIp?: boolean;
  readonly description?: string;
}

const descriptionCharsMax = 255;
const unsupported = (message: string): PandoError => new PandoError('UnsupportedOperation', message);

/** An address may be given in two ways, which must agree. */
const privateIpOf = (nic: Interface): string | undefined => {
  const [first, ...more] = nic.PrivateIpAddresses ?? [];
  if (more.length > 0 || (nic.SecondaryPrivateIpAddressCount ?? 0) > 0 || first?.Primary === false)
    throw unsupported(
      'An interface has one private IP address: PrivateIpAddresses with one entry, which is Primary, and a SecondaryPrivateIpAddressCount of 0.',
    );
  const [one, other] = [nic.PrivateIpAddress, first?.PrivateIpAddress];
  if (one !== undefined && other !== undefined && one !== other)
    throw new PandoError(
      'InvalidParameterCombination',
      'Only one primary private IP address can be specified.',
    );
  return one ?? other;
};

const refuseParts = (nic: Interface): void => {
  if (nic.NetworkInterfaceId !== undefined)
    throw unsupported('An existing network interface cannot be given to a launch.');
  if (nic.AssociateCarrierIpAddress)
    throw unsupported('AssociateCarrierIpAddress is not supported: the zone has no carrier gateway.');
  if (nic.DeleteOnTermination === false)
    throw unsupported(
      'DeleteOnTermination=false is not supported: the primary network interface goes with its instance.',
    );
  if (nic.InterfaceType !== undefined && nic.InterfaceType !== 'interface')
    throw unsupported(`The InterfaceType '${nic.InterfaceType.slice(0, 64)}' is not supported.`);
  const others: readonly (readonly [string, unknown])[] = [
    ['Ipv6AddressCount', nic.Ipv6AddressCount || undefined],
    ['Ipv6Addresses', nic.Ipv6Addresses?.[0]],
    ['Ipv4Prefix', nic.Ipv4Prefixes?.[0]],
    ['Ipv4PrefixCount', nic.Ipv4PrefixCount || undefined],
    ['Ipv6Prefix', nic.Ipv6Prefixes?.[0]],
    ['Ipv6PrefixCount', nic.Ipv6PrefixCount || undefined],
    ['NetworkCardIndex', nic.NetworkCardIndex || undefined],
    ['PrimaryIpv6', nic.PrimaryIpv6 || undefined],
    ['EnaSrdSpecification', nic.EnaSrdSpecification],
    ['EnaQueueCount', nic.EnaQueueCount],
    ['ConnectionTrackingSpecification', nic.ConnectionTrackingSpecification],
  ];
  const found = others.find(([, value]) => value !== undefined);
  if (found !== undefined) throw unsupported(`The parameter NetworkInterface.${found[0]} is not supported.`);
};

const readInterface = (input: Input, nic: Interface): NetworkPart => {
  refuseParts(nic);
  if (nic.DeviceIndex !== undefined && nic.DeviceIndex !== 0)
    throw new PandoError(
      'InvalidParameterValue',
      'The primary network interface must have the device index 0.',
    );
  if (
    input.SubnetId !== undefined ||
    input.SecurityGroupIds?.length ||
    input.SecurityGroups?.length ||
    input.PrivateIpAddress
  )
    throw new PandoError(
      'InvalidParameterCombination',
      'Network interfaces and an instance-level subnet ID, security groups or private IP address may not be specified on the same request',
    );
  const { Description: description = '' } = nic;
  if (description.length > descriptionCharsMax)
    throw new PandoError(
      'InvalidParameterValue',
      `A description has at most ${descriptionCharsMax} characters.`,
    );
  const privateIp = privateIpOf(nic);
  return {
    groupIds: nic.Groups ?? [],
    groupNames: [],
    ...(nic.SubnetId === undefined ? {} : { subnetId: nic.SubnetId }),
    ...(privateIp === undefined ? {} : { privateIp }),
    ...(nic.AssociatePublicIpAddress === undefined ? {} : { publicIp: nic.AssociatePublicIpAddress }),
    ...(description === '' ? {} : { description }),
  };
};

/** @throws EC2's errors for combinations; UnsupportedOperation for more than one interface and what one cannot have */
export const readNetwork = (input: Input): NetworkPart => {
  const [nic, ...more] = input.NetworkInterfaces ?? [];
  if (more.length > 0) throw unsupported('An instance has one network interface.');
  if (nic !== undefined) return readInterface(input, nic);
  return {
    groupIds: input.SecurityGroupIds ?? [],
    groupNames: input.SecurityGroups ?? [],
    ...(input.SubnetId === undefined ? {} : { subnetId: input.SubnetId }),
    ...(input.PrivateIpAddress === undefined ? {} : { privateIp: input.PrivateIpAddress }),
  };
};
