/** What of RunInstances Pando does not have is refused by name, never ignored: a client must not believe that it got it. */
import { PandoError } from '#contracts/errors.ts';
import type { In } from '#wire/types.ts';
import { guestVcpus, type InstanceSize } from '../instance-types.ts';

type Input = In<'RunInstances'>;

const unlessDefault = <T>(value: T | undefined, usual: T): T | undefined =>
  value === usual ? undefined : value;

const unsupportedOf = (input: Input): readonly (readonly [string, unknown])[] => [
  ['InstanceMarketOptions', input.InstanceMarketOptions],
  ['ElasticGpuSpecification', input.ElasticGpuSpecification],
  ['ElasticInferenceAccelerator', input.ElasticInferenceAccelerators],
  ['LicenseSpecification', input.LicenseSpecifications],
  ['KernelId', input.KernelId],
  ['RamdiskId', input.RamdiskId],
  ['AdditionalInfo', input.AdditionalInfo],
  ['HibernationOptions', input.HibernationOptions?.Configured === true ? true : undefined],
  ['EnclaveOptions', input.EnclaveOptions?.Enabled === true ? true : undefined],
  ['Monitoring.MetricCategoryIds', input.Monitoring?.MetricCategoryIds],
  ['Ipv6AddressCount', unlessDefault(input.Ipv6AddressCount, 0)],
  ['Ipv6Address', input.Ipv6Addresses],
  ['EnablePrimaryIpv6', unlessDefault(input.EnablePrimaryIpv6, false)],
  [
    'NetworkPerformanceOptions',
    unlessDefault(input.NetworkPerformanceOptions?.BandwidthWeighting, 'default'),
  ],
  ['Operator', input.Operator],
  ['SecondaryInterface', input.SecondaryInterfaces],
  ['PrivateDnsNameOptions.HostnameType', unlessDefault(input.PrivateDnsNameOptions?.HostnameType, 'ip-name')],
  [
    'PrivateDnsNameOptions.EnableResourceNameDnsARecord',
    unlessDefault(input.PrivateDnsNameOptions?.EnableResourceNameDnsARecord, false),
  ],
  [
    'PrivateDnsNameOptions.EnableResourceNameDnsAAAARecord',
    unlessDefault(input.PrivateDnsNameOptions?.EnableResourceNameDnsAAAARecord, false),
  ],
  ['Placement.HostResourceGroupArn', input.Placement?.HostResourceGroupArn],
  ['Placement.SpreadDomain', input.Placement?.SpreadDomain],
];

const isGiven = (value: unknown): boolean =>
  value !== undefined && value !== '' && !(Array.isArray(value) && value.length === 0);

/** @throws UnsupportedOperation */
export const refuseUnsupported = (input: Input): void => {
  const found = unsupportedOf(input).find(([, value]) => isGiven(value));
  if (found !== undefined)
    throw new PandoError('UnsupportedOperation', `The parameter ${found[0]} is not supported.`);
};

/** A type has the cores that it has: only those may be asked for. @throws InvalidParameterValue, UnsupportedOperation */
export const checkCpuOptions = ({ CpuOptions: options }: Input, size: InstanceSize): void => {
  if (options === undefined) return;
  if (options.AmdSevSnp !== undefined && options.AmdSevSnp !== 'disabled')
    throw new PandoError('UnsupportedOperation', 'The parameter CpuOptions.AmdSevSnp is not supported.');
  if (options.NestedVirtualization !== undefined && options.NestedVirtualization !== 'disabled')
    throw new PandoError(
      'UnsupportedOperation',
      'The parameter CpuOptions.NestedVirtualization is not supported.',
    );
  const cores = guestVcpus(size.vcpusMilli);
  if ((options.CoreCount ?? cores) !== cores || (options.ThreadsPerCore ?? 1) !== 1)
    throw new PandoError(
      'InvalidParameterValue',
      `CoreCount and ThreadsPerCore of ${size.name} must be ${cores} and 1.`,
    );
};
