/** Stop and reboot. */
import { setTimeout as sleep } from 'node:timers/promises';
import { monotonicMs } from '#base/monotonic.ts';
import { PandoError } from '#contracts/errors.ts';
import type { VmState } from '#contracts/host.ts';
import { processPollMs, resetMsMax, resetPollMs, stopGraceMsMax } from './limits.ts';
import { isEnded, migrateInfo } from './migration/facts.ts';
import type { Qmp, QmpEvent } from './qmp.ts';
import { runStateOf } from './run-state.ts';
import type { Vm } from './vm.ts';

/** A guest that is still booting misses the button; it is pressed again this often. */
const pressAgainMs = 3_000;

/** Powers the guest down by ACPI, then, or at once if forced, by ending the VMM. The disk stays. */
export const stopVm = async (vm: Vm, force: boolean, graceMs: number): Promise<{ state: VmState }> => {
  if (await vm.alive()) await vm.askToEnd();
  // A guest that stands still, or sleeps, cannot be asked.
  if (!force && (await runs(vm))) await pressUntilGone(vm, Math.min(graceMs, stopGraceMsMax));
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

const runs = async (vm: Vm): Promise<boolean> => {
  try {
    return (await runStateOf(vm.monitor)) === 'running';
  } catch {
    return false; // No VMM, or one that does not answer.
  }
};

/** States that a migration leaves behind: what was being sent somewhere that nobody waits for is given up first. */
const migrating: ReadonlySet<string> = new Set(['finish-migrate', 'postmigrate', 'save-vm']);

/**
 * Resets the machine, as EC2 does to a guest that does not react; the guest is not asked, so that it cannot refuse. Whatever state the
 * VMM is in, the guest runs afterwards. @throws IncorrectInstanceState where no guest of this VM may run: it is not here yet, or it has
 * moved away (S6.5).
 */
export const rebootVm = async (vm: Vm): Promise<void> => {
  const { monitor, record } = vm;
  const runState = await runStateOf(monitor);
  if (runState === 'inmigrate' || vm.isMoving)
    throw new PandoError(
      'IncorrectInstanceState',
      `${record.instanceId} is on its way to another host, or from one.`,
    );
  if (migrating.has(runState)) await giveUpStray(vm);
  const done = resetDone(monitor);
  await monitor.execute('system_reset');
  if (runState === 'running') return;
  // A guest that goes on before the reset would first repeat what it stood still for.
  await done;
  await monitor.execute('cont');
};

const giveUpStray = async ({ monitor }: Vm): Promise<void> => {
  await monitor.execute('migrate_cancel');
  const until = monotonicMs() + resetMsMax;
  while (!isEnded(await monitor.query(migrateInfo, 'query-migrate')) && monotonicMs() < until)
    await sleep(resetPollMs);
};

/** Resolves when the machine has been reset, or has had time enough. */
const resetDone = (monitor: Qmp): Promise<void> =>
  new Promise((resolve) => {
    const finish = (): void => {
      clearTimeout(timer);
      monitor.off('event', onEvent);
      resolve();
    };
    const onEvent = ({ name }: QmpEvent): void => {
      if (name === 'RESET') finish();
    };
    const timer = setTimeout(finish, resetMsMax);
    monitor.on('event', onEvent);
  });

const press = async (vm: Vm): Promise<void> => {
  try {
    await vm.monitor.execute('system_powerdown');
  } catch {
    // Gone, or about to be.
  }
};
