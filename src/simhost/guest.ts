/** What is asked of one VM of a simulated host, and concerns nothing but the VM. */
import { PandoError } from '#contracts/errors.ts';
import type { SimVm } from './vm.ts';

/** How far the copy of a VM that moves away is. */
export const progressOf = ({ outgoing }: SimVm, nowMs: number) => {
  const zero = { remainingBytes: 0, totalBytes: 0, expectedDowntimeMs: 0 };
  if (outgoing === undefined) return { phase: 'none' as const, ...zero };
  if (outgoing.phase === 'failed') return { phase: 'failed' as const, ...zero, reason: outgoing.reason };
  if (outgoing.phase === 'completed') return { phase: 'completed' as const, ...zero };
  if (outgoing.target.state !== 'incoming')
    return { phase: 'failed' as const, ...zero, reason: 'the target is gone' };
  return { phase: nowMs >= outgoing.until ? ('converged' as const) : ('memory' as const), ...zero };
};

export const cancelMigration = (vm: SimVm) => {
  if (vm.outgoing?.phase === 'completed')
    throw new PandoError('IncorrectState', `${vm.instanceId} was handed over: there is only forward (S7.4).`);
  vm.outgoing = undefined;
  if (vm.state === 'paused') vm.become('running');
  return { state: vm.state };
};

export const reboot = (vm: SimVm): void => {
  const { instanceId } = vm;
  if (vm.state === 'incoming' || vm.outgoing?.phase === 'completed')
    throw new PandoError(
      'IncorrectInstanceState',
      `${instanceId} is on its way to another host, or from one.`,
    );
  if (vm.state !== 'running' && vm.state !== 'paused')
    throw new PandoError('IncorrectInstanceState', `${instanceId} does not run.`);
  vm.consoleText += '[sim] reboot\n';
  if (vm.state === 'paused') vm.become('running');
};
