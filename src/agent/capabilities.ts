/** What this host can do that not every host can: features of its processors that guests see, and devices. */
import { readdirSync } from 'node:fs';
import { readKernelFile } from './kernel-files.ts';

/** Features that a guest's software asks for, by the kernel's names for them. Told of; others are nobody's concern. */
const features = [
  'aes',
  'avx',
  'avx2',
  'avx512f',
  'amx_tile',
  'sha_ni',
  'rdseed',
  'svm',
  'vmx',
  'sev',
  'sev_snp',
] as const;

/** PCI classes (the first four digits) of graphics and of processing accelerators. */
const gpuClasses: ReadonlySet<string> = new Set(['0x0302', '0x1200']);

const hasGpu = (pciDir: string): boolean => {
  try {
    return readdirSync(pciDir).some((device) =>
      gpuClasses.has((readKernelFile(`${pciDir}/${device}/class`) ?? '').slice(0, 6)),
    );
  } catch {
    return false;
  }
};

/** Read of the kernel: `cpuinfo` is procfs's file of that name, `pciDir` sysfs's directory of PCI devices. */
export const hostCapabilities = (
  cpuinfo = readKernelFile('/proc/cpuinfo') ?? '',
  pciDir = '/sys/bus/pci/devices',
): string[] => {
  const flags = new Set((/^flags\s*:(.*)$/m.exec(cpuinfo)?.[1] ?? '').split(' '));
  return [...features.filter((feature) => flags.has(feature)), ...(hasGpu(pciDir) ? ['gpu'] : [])];
};
