/**
 * What an instance type means. A small catalogue, and custom sizes that need no entry (S3.6): `custom.<milli vCPU>m.<MiB>`,
 * for example `custom.250m.192` is a quarter of a vCPU and 192 MiB. What its host must be able to do may follow: `custom.1000m.1024+kvm+avx2`.
 */
import { PandoError } from './errors.ts';

export interface InstanceSize {
  readonly name: string;
  readonly vcpusMilli: number;
  readonly memoryMib: number;
  /** Mbit/s that it is promised of its host's uplink. */
  readonly networkMbps: number;
  /** Capabilities that its host must have. */
  readonly needs?: readonly string[];
}

const networkMbpsPerVcpu = 128;
const networkMbpsMin = 16;

/** What a VM of this many vCPUs is promised, as EC2's burstable families do it: in proportion. */
export const networkMbpsOf = (vcpusMilli: number): number =>
  Math.max(networkMbpsMin, Math.floor((networkMbpsPerVcpu * vcpusMilli) / 1000));

const entry = (name: string, vcpusMilli: number, memoryMib: number): InstanceSize => ({
  name,
  vcpusMilli,
  memoryMib,
  networkMbps: networkMbpsOf(vcpusMilli),
});

/**
 * EC2's names, at a size that suits small machines: a quarter of the memory that they have at EC2, and of the small burstable ones a
 * part of a vCPU. So a script that names one gets an instance of the same order beside others of its family.
 */
const familyOf = (name: string, ...sizes: readonly (readonly [string, number, number])[]): InstanceSize[] =>
  sizes.map(([size, vcpusMilli, memoryMib]) => entry(`${name}.${size}`, vcpusMilli, memoryMib));

const burstable = (name: string): InstanceSize[] =>
  familyOf(
    name,
    ['nano', 250, 128],
    ['micro', 500, 256],
    ['small', 1000, 512],
    ['medium', 2000, 1024],
    ['large', 2000, 2048],
    ['xlarge', 4000, 4096],
    ['2xlarge', 8000, 8192],
  );

/** EC2's `m` have 4 GiB for each vCPU, its `c` 2 GiB. */
const steady = (name: string, mibPerVcpu: number): InstanceSize[] =>
  familyOf(
    name,
    ['large', 2000, 2 * mibPerVcpu],
    ['xlarge', 4000, 4 * mibPerVcpu],
    ['2xlarge', 8000, 8 * mibPerVcpu],
    ['4xlarge', 16_000, 16 * mibPerVcpu],
  );

/** `p1` is Pando's own family; the others are those that clients name. */
export const instanceTypeCatalogue: readonly InstanceSize[] = [
  ...familyOf(
    'p1',
    ['nano', 250, 64],
    ['micro', 250, 128],
    ['small', 500, 256],
    ['medium', 1000, 512],
    ['large', 2000, 1024],
    ['xlarge', 4000, 2048],
  ),
  ...burstable('t2'),
  ...burstable('t3'),
  ...burstable('t3a'),
  ...steady('m5', 1024),
  ...steady('c5', 512),
];

/** Whether the type is one whose credits for bursts are described and can be chosen. */
export const isBurstable = (name: string): boolean => /^t\d/.test(name);

/** EC2's: the second generation begins without surplus credits. */
export const creditsDefault = (name: string): 'standard' | 'unlimited' =>
  name.startsWith('t2.') ? 'standard' : 'unlimited';

export const defaultInstanceType = 'p1.small';

const byName = new Map(instanceTypeCatalogue.map((size) => [size.name, size]));

const customForm = /^custom\.(\d{1,6})m\.(\d{1,7})((?:\+[a-z0-9_]{1,24}){0,4})$/;
export const customLimits = {
  vcpusMilliMin: 50,
  vcpusMilliMax: 128_000,
  memoryMibMin: 48,
  memoryMibMax: 1_048_576,
} as const;

/** The size that a type names; undefined: there is no such type. */
export const findSize = (name: string): InstanceSize | undefined => {
  const known = byName.get(name);
  if (known !== undefined) return known;
  const custom = customForm.exec(name);
  if (custom === null) return undefined;
  const size = entry(name, Number(custom[1]), Number(custom[2]));
  const needs = (custom[3] ?? '').split('+').slice(1);
  if (!withinLimits(size)) return undefined;
  return needs.length === 0 ? size : { ...size, needs };
};

/** The size that a type names, for a launch. @throws InvalidParameterValue */
export const sizeOf = (name: string): InstanceSize => {
  const size = findSize(name);
  if (size !== undefined) return size;
  throw new PandoError('InvalidParameterValue', `Invalid value '${name.slice(0, 64)}' for InstanceType.`);
};

const withinLimits = ({ vcpusMilli, memoryMib }: InstanceSize): boolean =>
  vcpusMilli >= customLimits.vcpusMilliMin &&
  vcpusMilli <= customLimits.vcpusMilliMax &&
  memoryMib >= customLimits.memoryMibMin &&
  memoryMib <= customLimits.memoryMibMax;

/** vCPUs as EC2 counts them: whole ones, since a guest sees at least one. */
export const guestVcpus = (vcpusMilli: number): number => Math.max(1, Math.ceil(vcpusMilli / 1000));
