/**
 * What an instance type means. A small catalogue, and custom sizes that need no entry (S3.6): `custom.<milli vCPU>m.<MiB>`,
 * for example `custom.250m.192` is a quarter of a vCPU and 192 MiB.
 */
import { PandoError } from '#contracts/errors.ts';

export interface InstanceSize {
  readonly name: string;
  readonly vcpusMilli: number;
  readonly memoryMib: number;
  /** Mbit/s that it is promised of its host's uplink. */
  readonly networkMbps: number;
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

/** `p1` is Pando's own family; the `t3` names are those that clients choose by default, at a size that suits small machines. */
export const instanceTypeCatalogue: readonly InstanceSize[] = [
  entry('p1.nano', 250, 64),
  entry('p1.micro', 250, 128),
  entry('p1.small', 500, 256),
  entry('p1.medium', 1000, 512),
  entry('p1.large', 2000, 1024),
  entry('p1.xlarge', 4000, 2048),
  entry('t3.nano', 250, 128),
  entry('t3.micro', 500, 256),
  entry('t3.small', 1000, 512),
  entry('t3.medium', 2000, 1024),
];

export const defaultInstanceType = 'p1.small';

const byName = new Map(instanceTypeCatalogue.map((size) => [size.name, size]));

const customForm = /^custom\.(\d{1,6})m\.(\d{1,7})$/;
export const customLimits = {
  vcpusMilliMin: 50,
  vcpusMilliMax: 128_000,
  memoryMibMin: 48,
  memoryMibMax: 1_048_576,
} as const;

/** The size that a type names. @throws InvalidParameterValue */
export const sizeOf = (name: string): InstanceSize => {
  const known = byName.get(name);
  if (known !== undefined) return known;
  const custom = customForm.exec(name);
  if (custom !== null) {
    const size = entry(name, Number(custom[1]), Number(custom[2]));
    if (withinLimits(size)) return size;
  }
  throw new PandoError(
    'InvalidParameterValue',
    `The following supplied instance types do not exist: [${name.slice(0, 64)}]`,
  );
};

const withinLimits = ({ vcpusMilli, memoryMib }: InstanceSize): boolean =>
  vcpusMilli >= customLimits.vcpusMilliMin &&
  vcpusMilli <= customLimits.vcpusMilliMax &&
  memoryMib >= customLimits.memoryMibMin &&
  memoryMib <= customLimits.memoryMibMax;

/** vCPUs as EC2 counts them: whole ones, since a guest sees at least one. */
export const guestVcpus = (vcpusMilli: number): number => Math.max(1, Math.ceil(vcpusMilli / 1000));
