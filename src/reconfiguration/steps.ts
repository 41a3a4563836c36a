/** The ordered steps of a rebuild (S5.2), and which of them a strategy may leave out at all (S5.3). */

export const rebuildSteps = [
  'verifyEmpty',
  'isolate',
  'powerCycle',
  'firmwareCheck',
  'diagnostics',
  'scrub',
  'hostImage',
  'slotLayout',
  'networkConfiguration',
  'validationLaunch',
  'returnToService',
] as const;
export type RebuildStep = (typeof rebuildSteps)[number];

/** What evidence may replace. The others have no `skip` in their type: what destroys, proves or opens is always carried out. */
export const skippableSteps = [
  'powerCycle',
  'firmwareCheck',
  'diagnostics',
  'hostImage',
  'slotLayout',
  'networkConfiguration',
] as const satisfies readonly RebuildStep[];
export type SkippableStep = (typeof skippableSteps)[number];
export type EssentialStep = Exclude<RebuildStep, SkippableStep>;

const skippable: ReadonlySet<string> = new Set(skippableSteps);
export const isSkippable = (step: RebuildStep): step is SkippableStep => skippable.has(step);

/** Steps whose evidence a step destroys: what was true before a restart is not known to be true after it. */
export const invalidates: Readonly<Partial<Record<RebuildStep, readonly SkippableStep[]>>> = {
  powerCycle: ['firmwareCheck', 'slotLayout', 'networkConfiguration'],
  // What it flashes takes effect by a restart.
  firmwareCheck: ['slotLayout', 'networkConfiguration'],
};

/** Whether a validation launch would fail if leaving the step out had been wrong. A bad memory cell may escape a VM. */
export const seenByValidation: Readonly<Record<SkippableStep, boolean>> = {
  powerCycle: false,
  firmwareCheck: false,
  diagnostics: false,
  hostImage: true,
  slotLayout: true,
  networkConfiguration: true,
};

const minute = 60_000;
/** What a step takes on a server of common size, until a host has taken its own time. For estimates alone. */
export const typicalMs: Readonly<Record<RebuildStep, number>> = {
  verifyEmpty: 5_000,
  isolate: 5_000,
  powerCycle: 5 * minute,
  firmwareCheck: 2 * minute,
  diagnostics: 30 * minute,
  scrub: 10 * minute,
  hostImage: 4 * minute,
  slotLayout: 2 * minute,
  networkConfiguration: minute,
  validationLaunch: minute,
  returnToService: 5_000,
};
