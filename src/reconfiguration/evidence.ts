/** What is on record of a host, and what of it can stand in for a step: each with its age and its limit. */
import type { SkippableStep } from './steps.ts';

export const evidenceKinds = [
  'clean-start',
  'firmware-digest',
  'diagnostics-passed',
  'image-digest',
  'same-layout',
  'same-network',
] as const;
export type EvidenceKind = (typeof evidenceKinds)[number];

/** A value that was measured, when, and in which boot of the machine. */
export interface Measured {
  readonly digest: string;
  readonly ageMs: number;
  readonly bootId: string;
}

export interface CrashFact {
  readonly instanceId: string;
  /** `killed`: its VMM ended by itself; `panicked`: its guest's kernel gave up. */
  readonly cause: 'killed' | 'panicked';
}

export interface HostFacts {
  readonly hostId: string;
  readonly hostClass: string;
  /** The present boot of the machine, as its agent reports it. */
  readonly bootId: string;
  /** Why nothing on record counts: it crashed, its last rebuild failed, something stands in quarantine. Empty: a clean host. */
  readonly dirty: readonly string[];
  /** Agent and card began anew, and none of Pando's processes there has died since. */
  readonly cleanStart?: { readonly ageMs: number; readonly bootId: string };
  readonly firmware?: Measured;
  /** What the next boot would run: an update may be staged that no running version shows. Absent: as it runs. */
  readonly firmwareStaged?: string;
  /** The last full diagnostics, and the machine's error counters then. */
  readonly diagnostics?: { readonly passed: boolean; readonly ageMs: number; readonly errors: number };
  /** The machine's error counters now (ECC, disk). */
  readonly errors: number;
  /** VMs that ended there since the last diagnostics for no known reason: no counter tells of every bad cell of memory. Absent: none. */
  readonly crashes?: readonly CrashFact[];
  readonly image?: Measured;
  readonly layout?: Measured;
  readonly network?: Measured;
}

/** What the host shall be. */
export interface WantedHost {
  readonly firmwareDigest: string;
  readonly imageDigest: string;
  readonly layoutDigest: string;
  readonly networkDigest: string;
}

export interface Evidence {
  readonly kind: EvidenceKind;
  readonly ageMs: number;
  /** For people. */
  readonly words: string;
}

export type Judged =
  | { readonly ok: true; readonly evidence: Evidence }
  | { readonly ok: false; readonly why: string };

const hour = 3_600_000;
const day = 24 * hour;

export const evidenceAgeMsMax: Readonly<Record<EvidenceKind, number>> = {
  'clean-start': 7 * day,
  'firmware-digest': 30 * day,
  'diagnostics-passed': 14 * day,
  'image-digest': hour,
  'same-layout': hour,
  'same-network': hour,
};

export const evidenceOf: Readonly<Record<SkippableStep, EvidenceKind>> = {
  powerCycle: 'clean-start',
  firmwareCheck: 'firmware-digest',
  diagnostics: 'diagnostics-passed',
  hostImage: 'image-digest',
  slotLayout: 'same-layout',
  networkConfiguration: 'same-network',
};

/**
 * Why the host's memory is suspected, for people; undefined: it is not. A guest that gives up does so by a fault of its own more often
 * than not: two of them, or a VMM that ended by itself, are a sign.
 */
export const suspicionOf = ({ crashes = [] }: Pick<HostFacts, 'crashes'>): string | undefined => {
  const vms = new Set(crashes.map(({ instanceId }) => instanceId));
  if (vms.size < 2 && !crashes.some(({ cause }) => cause === 'killed')) return undefined;
  return `since the last diagnostics VMs ended there for no known reason: ${[...vms].join(', ')}`;
};

const no = (why: string): Judged => ({ ok: false, why });

const aged = (kind: EvidenceKind, ageMs: number, words: string): Judged => {
  // A clock that was set back makes no evidence younger than it is.
  if (!(ageMs >= 0)) return no(`${kind} is dated in the future`);
  if (ageMs > evidenceAgeMsMax[kind]) return no(`${kind} is older than ${evidenceAgeMsMax[kind] / hour} h`);
  return { ok: true, evidence: { kind, ageMs, words } };
};

const measured = (
  kind: EvidenceKind,
  value: Measured | undefined,
  wanted: string,
  bootId: string,
): Judged => {
  if (value === undefined) return no(`no ${kind} on record`);
  if (value.bootId !== bootId) return no(`${kind} is of an earlier boot`);
  if (value.digest !== wanted) return no(`${kind} is not the wanted one`);
  return aged(kind, value.ageMs, `${value.digest.slice(0, 12)} as wanted`);
};

type Rule = (facts: HostFacts, wanted: WantedHost) => Judged;

const rules: Readonly<Record<SkippableStep, Rule>> = {
  powerCycle: ({ cleanStart, bootId }) => {
    if (cleanStart === undefined) return no('no clean start on record');
    if (cleanStart.bootId !== bootId) return no('the machine has booted since its clean start');
    return aged('clean-start', cleanStart.ageMs, 'nothing died since a clean start');
  },
  firmwareCheck: ({ firmware, firmwareStaged, bootId }, { firmwareDigest }) =>
    firmwareStaged !== undefined && firmwareStaged !== firmwareDigest
      ? no('other firmware is staged for the next boot')
      : measured('firmware-digest', firmware, firmwareDigest, bootId),
  diagnostics: ({ diagnostics, errors, crashes }) => {
    if (diagnostics === undefined) return no('no diagnostics on record');
    const suspicion = suspicionOf({ crashes });
    if (suspicion !== undefined) return no(suspicion);
    if (!diagnostics.passed) return no('the last diagnostics failed');
    if (errors !== diagnostics.errors) return no('error counters moved since the last diagnostics');
    return aged('diagnostics-passed', diagnostics.ageMs, 'passed, and no error was counted since');
  },
  hostImage: ({ image, bootId }, { imageDigest }) => measured('image-digest', image, imageDigest, bootId),
  slotLayout: ({ layout, bootId }, { layoutDigest }) => measured('same-layout', layout, layoutDigest, bootId),
  networkConfiguration: ({ network, bootId }, { networkDigest }) =>
    measured('same-network', network, networkDigest, bootId),
};

/** Whether what is on record could stand in for the step; of a dirty host nothing can. */
export const judgeEvidence = (step: SkippableStep, facts: HostFacts, wanted: WantedHost): Judged => {
  const [dirt] = facts.dirty;
  return dirt === undefined ? rules[step](facts, wanted) : no(dirt);
};
