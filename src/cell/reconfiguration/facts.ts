/** What a strategy is worked out from: what the host says of itself now, and what is on record of it. */
import {
  firmwareDigest,
  type HostCondition,
  type HostWanted,
  layoutDigest,
  networkAsConfigured,
} from '#contracts/rebuild.ts';
import type { HostFacts, Measured, WantedHost } from '#reconfiguration/evidence.ts';
import type { HostRow } from '../store/hosts.ts';
import type { KeptSteps } from '../store/rebuilds.ts';

/** Hosts that are alike: what is learnt of one's evidence counts for all. */
export const hostClassOf = (
  row: Pick<HostRow, 'accelerator' | 'capacity_vcpus_milli' | 'capacity_memory_mib'>,
): string => `${row.accelerator}/${row.capacity_vcpus_milli}m/${row.capacity_memory_mib}`;

/** A digest as it was when a step looked at it: of use only while it is still the same. */
const lookedAt = (kept: KeptSteps['firmwareCheck'], now: HostCondition): Measured | undefined => {
  const { condition, ok, wanted } = kept ?? {};
  if (kept === undefined || condition === undefined || ok !== true || wanted === undefined) return undefined;
  const digest = condition.firmware === now.firmware ? wanted : now.firmware;
  return { digest, ageMs: kept.ageMs, bootId: condition.bootId };
};

export const hostFactsOf = (row: HostRow, now: HostCondition, kept: KeptSteps): HostFacts => {
  const { bootId, errors, dirty } = now;
  const measured = (digest: string): Measured => ({ digest, ageMs: 0, bootId });
  const cycle = kept.powerCycle;
  // Agent and card as they began then: one that has died since has another life.
  const clean = cycle?.ok === true && cycle.condition?.lives === now.lives ? cycle : undefined;
  const firmware = lookedAt(kept.firmwareCheck, now);
  const diagnosed = kept.diagnostics;
  const crashes = row.crashes.filter(({ at }) => diagnosed === undefined || at > diagnosed.atMs);
  const reasons = row.phase === 'out-of-service' ? ['it was taken out of service', ...dirty] : dirty;
  return {
    ...{ hostId: row.id, hostClass: hostClassOf(row), bootId, errors, dirty: reasons, crashes },
    ...(clean && { cleanStart: { ageMs: clean.ageMs, bootId: clean.condition?.bootId ?? '' } }),
    ...(firmware && { firmware }),
    ...(now.firmwareStaged === now.firmware ? {} : { firmwareStaged: now.firmwareStaged }),
    ...(diagnosed && {
      diagnostics: {
        ...{ passed: diagnosed.ok, ageMs: diagnosed.ageMs },
        errors: diagnosed.condition?.errors ?? -1,
      },
    }),
    ...{ image: measured(now.image), layout: measured(now.layout), network: measured(now.network) },
  };
};

export const wantedHostOf = (wanted: HostWanted, now: HostCondition): WantedHost => ({
  firmwareDigest: firmwareDigest(wanted.firmware),
  imageDigest: wanted.image ?? now.image,
  layoutDigest: layoutDigest(wanted.layout),
  networkDigest: networkAsConfigured,
});
