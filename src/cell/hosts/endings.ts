/**
 * What becomes of an instance whose row says running and whose VM does not run. Only a guest's own shutdown, in the host's own words,
 * may end in a termination. Pure.
 *
 *   guest-shutdown                     → terminate, or stop (as the instance was launched)
 *   killed, host-restarted, failed …   → recover, a bounded number of times with growing pauses → stop
 *   unknown, requested by nobody here  → stop, disk intact
 */
import type { VmReport } from '#contracts/host.ts';
import { recoveryBackoffMs, recoveryTriesMax, recoveryWindowMs } from '../limits.ts';
import type { InstanceRow, Recovery } from '../store/instances.ts';

export type Ending =
  | { readonly kind: 'terminate' | 'stop-guest' | 'stop-lost' | 'stop-unrecovered' }
  | { readonly kind: 'recover'; readonly recovery: Recovery }
  /** The next try is not due yet. */
  | { readonly kind: 'wait' };

/** The tries that still count: an instance that ran for long since starts with none. */
const triesOf = ({ recovery }: Pick<InstanceRow, 'recovery'>, nowMs: number): number =>
  recovery && nowMs - Date.parse(recovery.lastAt) < recoveryWindowMs ? recovery.tries : 0;

/** A clock that was stepped back since the last try does not hold the next one up. */
const isTooEarly = ({ tries, lastAt }: Recovery, nowMs: number): boolean => {
  const sinceMs = nowMs - Date.parse(lastAt);
  return sinceMs >= 0 && sinceMs < recoveryBackoffMs * 2 ** (tries - 1);
};

type Row = Pick<InstanceRow, 'recovery' | 'spec'>;

const mayRecover = (row: Row, vm: VmReport, tries: number): boolean => {
  if (row.spec.autoRecovery === 'disabled' || vm.state === 'absent') return false;
  const cause = vm.ended?.cause;
  // A recovery that failed half-way stopped it again: that is no request of anybody's.
  if (cause === 'requested') return tries > 0;
  return cause === 'killed' || cause === 'host-restarted' || cause === 'failed-to-start';
};

export const endingOf = (row: Row, vm: VmReport, nowMs: number): Ending => {
  if (vm.state === 'stopped' && vm.ended?.cause === 'guest-shutdown')
    return { kind: row.spec.shutdownBehavior === 'terminate' ? 'terminate' : 'stop-guest' };
  const tries = triesOf(row, nowMs);
  if (!mayRecover(row, vm, tries)) return { kind: 'stop-lost' };
  if (tries >= recoveryTriesMax) return { kind: 'stop-unrecovered' };
  if (row.recovery && tries > 0 && isTooEarly(row.recovery, nowMs)) return { kind: 'wait' };
  return { kind: 'recover', recovery: { tries: tries + 1, lastAt: new Date(nowMs).toISOString() } };
};
