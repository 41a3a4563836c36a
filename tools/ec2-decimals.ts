/**
 * The numbers of the EC2 model that are not integers. The SDK's runtime schema does not tell the two apart;
 * EC2's service model does, and these members are `double` or `float` there.
 */
const decimals: Readonly<Record<string, readonly string[]>> = {
  CapacityReservationFleet: ['TotalFulfilledCapacity'],
  ClientData: ['UploadSize'],
  CreateCapacityReservationFleetResult: ['TotalFulfilledCapacity'],
  EbsOptimizedInfo: ['BaselineThroughputInMBps', 'MaximumThroughputInMBps'],
  FleetCapacityReservation: ['FulfilledCapacity', 'Weight'],
  FleetData: ['FulfilledCapacity', 'FulfilledOnDemandCapacity'],
  FleetLaunchTemplateOverrides: ['Priority', 'WeightedCapacity'],
  FleetLaunchTemplateOverridesRequest: ['Priority', 'WeightedCapacity'],
  IpamResourceCidr: ['IpUsage'],
  LaunchTemplateOverrides: ['Priority', 'WeightedCapacity'],
  MemoryGiBPerVCpu: ['Max', 'Min'],
  MemoryGiBPerVCpuRequest: ['Max', 'Min'],
  MetricPoint: ['Value'],
  NetworkBandwidthGbps: ['Max', 'Min'],
  NetworkBandwidthGbpsRequest: ['Max', 'Min'],
  PriceSchedule: ['Price'],
  PriceScheduleSpecification: ['Price'],
  PricingDetail: ['Price'],
  ProcessorInfo: ['SustainedClockSpeedInGhz'],
  RecurringCharge: ['Amount'],
  ReservationFleetInstanceSpecification: ['Weight'],
  ReservedInstanceLimitPrice: ['Amount'],
  ReservedInstances: ['FixedPrice', 'UsagePrice'],
  ReservedInstancesOffering: ['FixedPrice', 'UsagePrice'],
  SnapshotDetail: ['DiskImageSize'],
  SnapshotTaskDetail: ['DiskImageSize'],
  SpotFleetLaunchSpecification: ['WeightedCapacity'],
  SpotFleetRequestConfigData: ['FulfilledCapacity', 'OnDemandFulfilledCapacity'],
  TotalLocalStorageGB: ['Max', 'Min'],
  TotalLocalStorageGBRequest: ['Max', 'Min'],
};

/** Names that newer structures give to fractions. Taking a decimal for an integer would refuse good requests. */
const decimalName = /Price$|Cost$|Percent(age)?$|Utilization|Rate$|Weight|Fulfilled.*Capacity|Gbps$|GiB$/;

/** Whether the number `member` of `structure` may have a fraction. */
export function isDecimal(structure: string, member: string): boolean {
  return decimals[structure]?.includes(member) === true || decimalName.test(member);
}
