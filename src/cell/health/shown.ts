/** The status checks of an instance as clients see them: what was judged of its VM, and what is known of its host now. Pure. */
import { hostAwayMsMax, initializingMsMin } from '../limits.ts';
import type { HostFacts } from '../store/health.ts';
import type { InstanceRow } from '../store/instances.ts';
import type { Check, InstanceHealth } from './judge.ts';

export interface ShownCheck {
  readonly status: 'ok' | 'initializing' | 'impaired' | 'insufficient-data' | 'not-applicable';
  /** Of one that is impaired. */
  readonly since?: Date;
}

export interface ShownChecks {
  readonly instance: ShownCheck;
  readonly system: ShownCheck;
  readonly disk: ShownCheck;
}

export interface HostNow {
  readonly facts: HostFacts | undefined;
  /** It has a stream to this processor. */
  readonly connected: boolean;
  /** Its agent is of the last release: it tells nothing of its VMs' health. */
  readonly silentOnHealth: boolean;
}

const everywhere = (check: ShownCheck): ShownChecks => ({ instance: check, system: check, disk: check });

const shown = ({ status, since }: Check): ShownCheck =>
  status === 'impaired' ? { status, since: new Date(since) } : { status };

/** Longer than an agent or a card takes to start again. */
const isAway = ({ facts, connected }: HostNow): boolean =>
  !connected && (facts?.silent_ms ?? 0) > hostAwayMsMax;

export const shownChecks = (
  row: Pick<InstanceRow, 'state' | 'launch_time'>,
  health: InstanceHealth | undefined,
  host: HostNow,
  nowMs: number,
): ShownChecks => {
  if (row.state !== 'running') return everywhere({ status: 'not-applicable' });
  const { facts } = host;
  if (isAway(host) && facts !== undefined)
    return {
      ...everywhere({ status: 'insufficient-data' }),
      system: { status: 'impaired', since: facts.heard_at },
    };
  const isYoung = nowMs - row.launch_time.getTime() < initializingMsMin;
  const wait = (check: ShownCheck): ShownCheck =>
    isYoung && check.status === 'ok' ? { status: 'initializing' } : check;
  if (health === undefined) return everywhere(wait({ status: host.silentOnHealth ? 'ok' : 'initializing' }));
  const cardAway = facts?.card === 'degraded' && (facts.card_ms ?? 0) > hostAwayMsMax;
  const system: ShownCheck =
    health.system.status !== 'impaired' && cardAway
      ? { status: 'impaired', ...(facts?.card_changed_at ? { since: facts.card_changed_at } : {}) }
      : shown(health.system);
  const { cause } = health.system;
  const disk: ShownCheck =
    cause === 'disk-full' || cause === 'disk-error' ? shown(health.system) : { status: 'ok' };
  return { instance: wait(shown(health.instance)), system: wait(system), disk: wait(disk) };
};
