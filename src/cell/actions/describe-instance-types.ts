/** DescribeInstanceTypes: the catalogue, and custom sizes that are asked for by name. */
import type { InstanceTypeInfo } from '@aws-sdk/client-ec2';
import { PandoError } from '#contracts/errors.ts';
import { endDryRun } from '#wire/dryRun.ts';
import { applyFilters, type FilterSpec } from '#wire/filters.ts';
import { cutPage, readPage } from '#wire/pagination.ts';
import type { In, Out } from '#wire/types.ts';
import {
  findSize,
  guestVcpus,
  type InstanceSize,
  instanceTypeCatalogue,
  isBurstable,
} from '../instance-types.ts';
import type { CellContext } from './context.ts';

const pageItemsMax = 100;
const clockGhz = 2.5;

const render = (size: InstanceSize): InstanceTypeInfo => {
  const vcpus = guestVcpus(size.vcpusMilli);
  return {
    InstanceType: size.name as InstanceTypeInfo['InstanceType'],
    CurrentGeneration: true,
    FreeTierEligible: false,
    SupportedUsageClasses: ['on-demand'],
    SupportedRootDeviceTypes: ['ebs'],
    SupportedVirtualizationTypes: ['hvm'],
    BareMetal: false,
    Hypervisor: 'xen',
    ProcessorInfo: {
      SupportedArchitectures: ['x86_64'],
      SustainedClockSpeedInGhz: clockGhz,
      Manufacturer: 'Pando',
    },
    VCpuInfo: {
      DefaultVCpus: vcpus,
      DefaultCores: vcpus,
      DefaultThreadsPerCore: 1,
      ValidCores: [vcpus],
      ValidThreadsPerCore: [1],
    },
    MemoryInfo: { SizeInMiB: size.memoryMib },
    InstanceStorageSupported: false,
    EbsInfo: {
      EbsOptimizedSupport: 'default',
      EncryptionSupport: 'unsupported',
      NvmeSupport: 'unsupported',
      EbsOptimizedInfo: {
        BaselineBandwidthInMbps: 100,
        BaselineThroughputInMBps: 12.5,
        BaselineIops: 1_000,
        MaximumBandwidthInMbps: 1_000,
        MaximumThroughputInMBps: 125,
        MaximumIops: 3_000,
      },
    },
    NetworkInfo: {
      NetworkPerformance: 'Low to Moderate',
      MaximumNetworkInterfaces: 1,
      MaximumNetworkCards: 1,
      DefaultNetworkCardIndex: 0,
      NetworkCards: [
        { NetworkCardIndex: 0, NetworkPerformance: 'Low to Moderate', MaximumNetworkInterfaces: 1 },
      ],
      Ipv4AddressesPerInterface: 1,
      Ipv6AddressesPerInterface: 0,
      Ipv6Supported: false,
      EnaSupport: 'supported',
      EfaSupported: false,
      EncryptionInTransitSupported: false,
      EnaSrdSupported: false,
    },
    PlacementGroupInfo: { SupportedStrategies: ['cluster', 'partition', 'spread'] },
    HibernationSupported: false,
    BurstablePerformanceSupported: isBurstable(size.name),
    DedicatedHostsSupported: false,
    AutoRecoverySupported: false,
    SupportedBootModes: ['legacy-bios'],
    NitroEnclavesSupport: 'unsupported',
    NitroTpmSupport: 'unsupported',
  };
};

const typeFilters: FilterSpec<InstanceTypeInfo> = {
  'auto-recovery-supported': (type) => type.AutoRecoverySupported,
  'bare-metal': (type) => type.BareMetal,
  'burstable-performance-supported': (type) => type.BurstablePerformanceSupported,
  'current-generation': (type) => type.CurrentGeneration,
  'dedicated-hosts-supported': (type) => type.DedicatedHostsSupported,
  'ebs-info.attachment-limit-type': () => undefined,
  'ebs-info.ebs-optimized-info.baseline-bandwidth-in-mbps': (type) =>
    type.EbsInfo?.EbsOptimizedInfo?.BaselineBandwidthInMbps,
  'ebs-info.ebs-optimized-info.baseline-iops': (type) => type.EbsInfo?.EbsOptimizedInfo?.BaselineIops,
  'ebs-info.ebs-optimized-info.baseline-throughput-in-mbps': (type) =>
    type.EbsInfo?.EbsOptimizedInfo?.BaselineThroughputInMBps,
  'ebs-info.ebs-optimized-info.maximum-bandwidth-in-mbps': (type) =>
    type.EbsInfo?.EbsOptimizedInfo?.MaximumBandwidthInMbps,
  'ebs-info.ebs-optimized-info.maximum-iops': (type) => type.EbsInfo?.EbsOptimizedInfo?.MaximumIops,
  'ebs-info.ebs-optimized-info.maximum-throughput-in-mbps': (type) =>
    type.EbsInfo?.EbsOptimizedInfo?.MaximumThroughputInMBps,
  'ebs-info.maximum-ebs-attachments': () => undefined,
  'ebs-info.ebs-optimized-support': (type) => type.EbsInfo?.EbsOptimizedSupport,
  'ebs-info.encryption-support': (type) => type.EbsInfo?.EncryptionSupport,
  'ebs-info.nvme-support': (type) => type.EbsInfo?.NvmeSupport,
  'free-tier-eligible': (type) => type.FreeTierEligible,
  'hibernation-supported': (type) => type.HibernationSupported,
  hypervisor: (type) => type.Hypervisor,
  'instance-storage-info.disk.count': () => undefined,
  'instance-storage-info.disk.size-in-gb': () => undefined,
  'instance-storage-info.disk.type': () => undefined,
  'instance-storage-info.encryption-support': () => undefined,
  'instance-storage-info.nvme-support': () => undefined,
  'instance-storage-info.total-size-in-gb': () => undefined,
  'instance-storage-supported': (type) => type.InstanceStorageSupported,
  'instance-type': (type) => type.InstanceType,
  'memory-info.size-in-mib': (type) => type.MemoryInfo?.SizeInMiB,
  'network-info.bandwidth-weightings': () => undefined,
  'network-info.efa-info.maximum-efa-interfaces': () => undefined,
  'network-info.encryption-in-transit-supported': (type) => type.NetworkInfo?.EncryptionInTransitSupported,
  'network-info.flexible-ena-queues-support': () => undefined,
  'network-info.ipv4-addresses-per-interface': (type) => type.NetworkInfo?.Ipv4AddressesPerInterface,
  'network-info.ipv6-addresses-per-interface': (type) => type.NetworkInfo?.Ipv6AddressesPerInterface,
  'network-info.maximum-network-cards': (type) => type.NetworkInfo?.MaximumNetworkCards,
  'network-info.ena-support': (type) => type.NetworkInfo?.EnaSupport,
  'network-info.efa-supported': (type) => type.NetworkInfo?.EfaSupported,
  'network-info.ipv6-supported': (type) => type.NetworkInfo?.Ipv6Supported,
  'network-info.maximum-network-interfaces': (type) => type.NetworkInfo?.MaximumNetworkInterfaces,
  'network-info.network-performance': (type) => type.NetworkInfo?.NetworkPerformance,
  'nitro-enclaves-support': (type) => type.NitroEnclavesSupport,
  'nitro-tpm-info.supported-versions': () => undefined,
  'nitro-tpm-support': (type) => type.NitroTpmSupport,
  'processor-info.supported-features': () => undefined,
  'reboot-migration-support': () => undefined,
  'processor-info.supported-architecture': (type) => type.ProcessorInfo?.SupportedArchitectures,
  'processor-info.sustained-clock-speed-in-ghz': (type) => type.ProcessorInfo?.SustainedClockSpeedInGhz,
  'supported-boot-mode': (type) => type.SupportedBootModes,
  'supported-root-device-type': (type) => type.SupportedRootDeviceTypes,
  'supported-usage-class': (type) => type.SupportedUsageClasses,
  'supported-virtualization-type': (type) => type.SupportedVirtualizationTypes,
  'vcpu-info.default-cores': (type) => type.VCpuInfo?.DefaultCores,
  'vcpu-info.default-threads-per-core': (type) => type.VCpuInfo?.DefaultThreadsPerCore,
  'vcpu-info.default-vcpus': (type) => type.VCpuInfo?.DefaultVCpus,
  'vcpu-info.valid-cores': (type) => type.VCpuInfo?.ValidCores,
  'vcpu-info.valid-threads-per-core': (type) => type.VCpuInfo?.ValidThreadsPerCore,
};

/** EC2 has a code of its own for types that are not there. */
const lookUp = (names: readonly string[]): readonly InstanceSize[] => {
  const sizes = names.flatMap((name) => findSize(name) ?? []);
  const missing = names.filter((name) => !sizes.some((size) => size.name === name));
  if (missing.length > 0)
    throw new PandoError(
      'InvalidInstanceType',
      `The following supplied instance types do not exist: [${missing.map((name) => name.slice(0, 64)).join(', ')}]`,
    );
  return sizes;
};

export const describeInstanceTypes = async (
  input: In<'DescribeInstanceTypes'>,
  context: CellContext,
): Promise<Out<'DescribeInstanceTypes'>> => {
  const page = readPage(input, {
    secret: context.pageSecret,
    scope: 'DescribeInstanceTypes',
    ids: { parameter: 'instanceTypesSet', values: input.InstanceTypes },
    itemsMax: pageItemsMax,
  });
  const named = input.InstanceTypes ?? [];
  const sizes = named.length > 0 ? lookUp([...new Set<string>(named)]) : instanceTypeCatalogue;
  endDryRun(input);
  const cursorOf = (type: InstanceTypeInfo): string => type.InstanceType ?? '';
  const matching = applyFilters(sizes.map(render), input.Filters, typeFilters);
  matching.sort((a, b) => (cursorOf(a) < cursorOf(b) ? -1 : 1));
  const cut = cutPage(matching, page, cursorOf);
  return {
    InstanceTypes: [...cut.items],
    ...(cut.nextToken === undefined ? {} : { NextToken: cut.nextToken }),
  };
};
