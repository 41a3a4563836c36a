/**
 * The two status checks of an instance, judged by what its host reports of its VM. Pure. What is known of the host itself (silent, its card
 * away) is added where it is shown (`shown.ts`): a host that says nothing reports no VM.
 *
 *                        the guest is heard of, its processors get on
 *   initializing ──────────────────────────────────────────────────────→ ok
 *        │                                                                │ it boots anew
 *        │ not heard of within guestConfiguresMsMax                       ↓
 *        └──────────→ impaired ←── stands still, resets without end ── initializing
 *
 * A report that knows less than was known before (a new agent or card, the target of a migration) changes nothing for the worse: only what
 * was seen does.
 */
import type { VmReport, VmState } from '#contracts/host.ts';
import { guestConfiguresMsMax, processorsStalledMsMax, resetsMax } from '../limits.ts';

export type CheckCause =
  /** A write found no room on the host's disk. */
  | 'disk-full'
  /** Another error of the host's disk. */
  | 'disk-error'
  /** The VMM stands still, or does not answer. */
  | 'vmm-stopped'
  /** The VM has ended though nobody asked. */
  | 'vm-ended'
  /** The guest's kernel has given up, or sleeps. */
  | 'guest-stopped'
  | 'reset-loop'
  /** It never asked for its address or for metadata, nor answered ARP: also where no disk could be booted. */
  | 'not-configured'
  | 'processors-stalled';

export interface Check {
  readonly status: 'initializing' | 'ok' | 'impaired';
  /** ISO 8601. */
  readonly since: string;
  readonly cause?: CheckCause;
}

/** As it is kept beside the instance's row. */
export interface InstanceHealth {
  readonly instance: Check;
  readonly system: Check;
}

type Verdict = Omit<Check, 'since'>;
type Verdicts = Readonly<Record<'instance' | 'system', Verdict>>;

const ok: Verdict = { status: 'ok' };
const initializing: Verdict = { status: 'initializing' };
const impaired = (cause: CheckCause): Verdict => ({ status: 'impaired', cause });

/** The host's doing, which its guest feels too. */
const both = (cause: CheckCause): Verdicts => ({ instance: impaired(cause), system: impaired(cause) });

/** What a host without the VM, or whose VMM has ended, calls it. */
const ended: ReadonlySet<VmState> = new Set(['absent', 'stopped', 'failed']);

/**
 * Whether a report tells of an end that the instance has left behind: it was made before the change that began its present life, or the
 * host has not heard of that yet (`present`: the generation of the row). Who compares hosts with rows asks before anything is done; a check's alarm is not to be quicker.
 */
export const isOlderEnd = ({ state, generation = 0 }: VmReport, present: number): boolean =>
  ended.has(state) && generation < present;

/** What stands still by its guest's doing. */
const guestStopped: ReadonlySet<string> = new Set(['guest-panicked', 'suspended', 'shutdown', 'watchdog']);

/** Of a VM that should run and whose VMM says that it does not; undefined: it runs. */
const standstill = ({ state, health }: VmReport): Verdicts | undefined => {
  if (ended.has(state)) return both('vm-ended');
  if (health === undefined) return undefined;
  const { runState, noSpace } = health;
  if (noSpace) return both('disk-full');
  if (runState === undefined) return both('vmm-stopped');
  if (runState === 'running') return undefined;
  if (runState === 'io-error') return both('disk-error');
  if (guestStopped.has(runState)) return { instance: impaired('guest-stopped'), system: ok };
  return both('vmm-stopped');
};

/** Of a guest that runs. */
const guestVerdict = (before: Check | undefined, { health }: VmReport): Verdict => {
  if (health === undefined) return before ?? initializing;
  const { configured, listenedMs = 0, bootSeen, stalledMs = 0, resets = 0 } = health;
  if (resets >= resetsMax) return impaired('reset-loop');
  if (stalledMs >= processorsStalledMsMax) return impaired('processors-stalled');
  if (configured) return ok;
  // It was well before, and nobody has seen it boot since.
  if (before?.status === 'ok' && !bootSeen) return ok;
  const silent = configured === false && listenedMs >= guestConfiguresMsMax;
  if (silent || (before?.cause === 'not-configured' && !bootSeen)) return impaired('not-configured');
  return initializing;
};

const since = (before: Check | undefined, { status, cause }: Verdict, at: string): Check => ({
  status,
  ...(cause === undefined ? {} : { cause }),
  // Impaired for another reason, it has been impaired all the while.
  since: before?.status === status ? before.since : at,
});

/**
 * Undefined where the report says nothing about how the VM is: the host is of the last release, or the VM is on its way. `before`: what
 * is kept. The same as before is the same object's content, times included.
 */
export const judge = (
  before: InstanceHealth | null | undefined,
  report: VmReport,
  nowMs: number,
): InstanceHealth | undefined => {
  // A report that was made before the launch ended may come after it, and agents of the last release tell of VMMs that have not begun.
  if (report.state === 'preparing' || report.state === 'incoming') return undefined;
  const stopped = standstill(report);
  if (stopped === undefined && report.health === undefined) return undefined;
  const { instance, system } = stopped ?? { instance: guestVerdict(before?.instance, report), system: ok };
  const at = new Date(nowMs).toISOString();
  return {
    instance: since(before?.instance, instance, at),
    system: since(before?.system, system, at),
  };
};

export const sameHealth = (one: InstanceHealth | null | undefined, other: InstanceHealth): boolean =>
  (['instance', 'system'] as const).every((check) => {
    const [a, b] = [one?.[check], other[check]];
    return a?.status === b.status && a.cause === b.cause && a.since === b.since;
  });
