/**
 * Why a VMM ended, by what is known of it. Only what QEMU itself said of the guest counts as the guest's own shutdown; an end that
 * nobody can explain is `killed`: its disk is kept, and its owner is not taken to have wanted it.
 */
import type { VmEnded, VmState } from '#contracts/host.ts';

/** QMP's reason in its SHUTDOWN event when the guest has powered itself off. */
export const guestShutdown = 'guest-shutdown';

export interface EndEvidence {
  /** What the VM's record said before. */
  readonly state: VmState;
  /** Whether we asked the guest or the VMM to end. */
  readonly asked: boolean;
  /** Of QMP's SHUTDOWN event, if one was heard. */
  readonly shutdownReason?: string | undefined;
  /** How the process ended, if its parent saw it: a signal or an exit status, for people. */
  readonly exit?: string | undefined;
  /** The machine's boot under which the VMM was started; undefined in records of the last release. */
  readonly startedUnder?: string | undefined;
  /** The machine's boot now. */
  readonly bootId: string;
  /** What else is known, for people. */
  readonly words?: string | undefined;
}

const neverRan: ReadonlySet<VmState> = new Set<VmState>(['preparing', 'incoming']);

const causeOf = (evidence: EndEvidence): VmEnded['cause'] => {
  const { state, asked, shutdownReason, startedUnder, bootId } = evidence;
  // First: nothing that was heard in an earlier boot can explain what the end of that boot did.
  if (startedUnder !== undefined && startedUnder !== bootId) return 'host-restarted';
  if (asked) return 'requested';
  if (shutdownReason === guestShutdown) return 'guest-shutdown';
  return neverRan.has(state) ? 'failed-to-start' : 'killed';
};

export const endOf = (evidence: EndEvidence, at: Date): VmEnded => {
  const { exit, shutdownReason, words } = evidence;
  const detail = [shutdownReason, exit, words].filter((part) => part !== undefined && part !== '').join('; ');
  return { cause: causeOf(evidence), at: at.toISOString(), ...(detail === '' ? {} : { detail }) };
};
