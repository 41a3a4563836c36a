/** How much CPU time a VM's group gets. */
import { cpuPeriodUs, cpuQuotaUsMin, migrationCpus, vmmCpusMax, vmmCpusPerVcpu } from '../limits.ts';

/**
 * CPU time a period: the guest's own, and a quarter more for the VMM's threads that work for it (devices, emulation), up to
 * `vmmCpusMax`. While it moves, `migrationCpus` more: the copy is ours, and must not stop the guest.
 */
export const quotaUs = (vcpus: number, moving = false): number => {
  const vmm = Math.min(vmmCpusMax, vcpus * vmmCpusPerVcpu);
  return Math.max(cpuQuotaUsMin, Math.round((vcpus + vmm + (moving ? migrationCpus : 0)) * cpuPeriodUs));
};
