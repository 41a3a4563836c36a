/** Stop and reboot. */
import { setTimeout as sleep } from 'node:timers/promises';
import { monotonicMs } from '#base/monotonic.ts';
import type { VmState } from '#contracts/host.ts';
import { processPollMs, stopGraceMsMax } from './limits.ts';
import type { Vm } from './vm.ts';

/** A guest that is still booting misses the button; it is pressed again this often. */
const pressAgainMs = 3_000;

/** Powers the guest down by ACPI, then, or at once if forced, by ending the VMM. The disk stays. */
export const stopVm = async (vm: Vm, force: boolean, graceMs: number): Promise<{ state: VmState }> => {
  if (await vm.alive()) await vm.askToEnd();
  if (!force && vm.record.state === 'running') await pressUntilGone(vm, Math.min(graceMs, stopGraceMsMax));
  const forced = await vm.alive();
  const reason = forced ? 'stopped by force' : 'stopped';
  if (forced) await vm.quit();
  await vm.kill();
  await vm.ended();
  vm.setState('stopped', reason);
  await vm.save();
  return { state: 'stopped' };
};

const pressUntilGone = async (vm: Vm, graceMs: number): Promise<void> => {
  const until = monotonicMs() + graceMs;
  for (let pressAt = 0; monotonicMs() < until && (await vm.alive()); await sleep(processPollMs)) {
    if (monotonicMs() < pressAt) continue;
    // The monitor may vanish under us: that is what is waited for.
    await press(vm);
    pressAt = monotonicMs() + pressAgainMs;
  }
};

/** Resets the machine, as EC2 does to a guest that does not react; the guest is not asked, so that it cannot refuse. */
export const rebootVm = async (vm: Vm): Promise<void> => {
  await vm.monitor.execute('system_reset');
};

const press = async (vm: Vm): Promise<void> => {
  try {
    await vm.monitor.execute('system_powerdown');
  } catch {
    // Gone, or about to be.
  }
};
