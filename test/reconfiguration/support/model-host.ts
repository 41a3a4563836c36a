/**
 * A host as rebuilds see it: what it truly is, beside what is on record of it. Events change the truth, and the record only where a real
 * host's would notice. Passes are carried out as the workflow does it, on the production's strategies.
 */
import type { CrashFact, HostFacts, Measured, WantedHost } from '#reconfiguration/evidence.ts';
import type { Feedback } from '#reconfiguration/feedback.ts';
import {
  type Found,
  firstLevel,
  learn,
  nextLevel,
  type PassLevel,
  strategyAt,
} from '#reconfiguration/passes.ts';
import {
  isSkippable,
  type RebuildStep,
  rebuildSteps,
  type SkippableStep,
  typicalMs,
} from '#reconfiguration/steps.ts';
import { type Strategy, skips, workOutStrategy } from '#reconfiguration/strategy.ts';

export const wanted: WantedHost = {
  firmwareDigest: 'firmware-2',
  imageDigest: 'image-2',
  layoutDigest: 'layout-2',
  networkDigest: 'network-2',
};

export interface Truth {
  boot: number;
  vms: number;
  /** What former tenants left: disks, memory files, logs, the card's state. */
  residue: boolean;
  /** Kernel objects and processes that nobody accounts for. A boot removes them. */
  stray: boolean;
  memoryFault: boolean;
  firmware: string;
  /** Written, takes effect at the next boot. */
  firmwareNext: string;
  image: string;
  layout: string;
  network: string;
  errors: number;
  service: 'serving' | 'isolated' | 'out';
}

interface RecordOf {
  dirty: string[];
  /** Since the last diagnostics. */
  crashes: CrashFact[];
  cleanStart?: { at: number; boot: number };
  firmware?: { digest: string; at: number; boot: number };
  diagnostics?: { passed: boolean; at: number; errors: number };
}

export class ModelHost {
  readonly hostClass: string;
  truth: Truth = {
    ...{ boot: 1, vms: 0, residue: false, stray: false, memoryFault: false, errors: 0, service: 'serving' },
    ...{ firmware: 'firmware-2', firmwareNext: 'firmware-2', image: 'image-2' },
    ...{ layout: 'layout-1', network: 'network-1' },
  };
  record: RecordOf = { dirty: [], crashes: [] };
  nowMs = 0;
  /** What the host says of its layout, where it is wrong about it. */
  layoutReported: string | undefined;

  constructor(hostClass: string) {
    this.hostClass = hostClass;
  }

  copy(): ModelHost {
    const made = new ModelHost(this.hostClass);
    made.truth = { ...this.truth };
    made.record = structuredClone(this.record);
    made.nowMs = this.nowMs;
    made.layoutReported = this.layoutReported;
    return made;
  }

  set(change: Partial<Truth>): void {
    Object.assign(this.truth, change);
  }

  /** A VM of a tenant's ends by itself. */
  crash(instanceId: string): void {
    this.record.crashes.push({ instanceId, cause: 'killed' });
  }

  wait(ms: number): void {
    this.nowMs += ms;
  }

  boot(): void {
    Object.assign(this.truth, { boot: this.truth.boot + 1, stray: false, layout: 'none', network: 'none' });
    this.truth.firmware = this.truth.firmwareNext;
  }

  facts(): HostFacts {
    const { truth, record, nowMs } = this;
    const bootId = `boot-${truth.boot}`;
    const now = (digest: string): Measured => ({ digest, ageMs: 0, bootId });
    const { cleanStart, firmware, diagnostics } = record;
    return {
      ...{ hostId: 'h-1', hostClass: this.hostClass, bootId, dirty: record.dirty, errors: truth.errors },
      crashes: record.crashes,
      ...(cleanStart && {
        cleanStart: { ageMs: nowMs - cleanStart.at, bootId: `boot-${cleanStart.boot}` },
      }),
      ...(firmware && {
        firmware: { digest: firmware.digest, ageMs: nowMs - firmware.at, bootId: `boot-${firmware.boot}` },
      }),
      ...(diagnostics && {
        diagnostics: {
          passed: diagnostics.passed,
          ageMs: nowMs - diagnostics.at,
          errors: diagnostics.errors,
        },
      }),
      firmwareStaged: truth.firmwareNext,
      image: now(truth.image),
      layout: now(this.layoutReported ?? truth.layout),
      network: now(truth.network),
    };
  }

  /** Carries a step out. */
  do(step: RebuildStep): Found {
    const { truth, record, nowMs: at } = this;
    const put = (name: 'image' | 'layout' | 'network', value: string): Found => {
      const changed = truth[name] !== value;
      truth[name] = value;
      return { ok: true, changed };
    };
    switch (step) {
      case 'verifyEmpty':
        return { ok: truth.vms === 0, changed: false };
      case 'isolate':
        truth.service = 'isolated';
        return { ok: true, changed: false };
      case 'powerCycle': {
        const changed = truth.stray;
        this.boot();
        record.cleanStart = { at, boot: truth.boot };
        return { ok: true, changed };
      }
      case 'firmwareCheck': {
        const changed = [truth.firmware, truth.firmwareNext].some((each) => each !== wanted.firmwareDigest);
        if (changed) {
          truth.firmwareNext = wanted.firmwareDigest;
          this.boot();
        }
        record.firmware = { digest: truth.firmware, at, boot: truth.boot };
        return { ok: true, changed };
      }
      case 'diagnostics':
        record.diagnostics = { passed: !truth.memoryFault, at, errors: truth.errors };
        record.crashes = [];
        return { ok: !truth.memoryFault, changed: false };
      case 'scrub':
        truth.residue = false;
        return { ok: true, changed: false };
      case 'hostImage':
        return put('image', wanted.imageDigest);
      case 'slotLayout':
        this.layoutReported = undefined;
        return put('layout', wanted.layoutDigest);
      case 'networkConfiguration':
        return put('network', wanted.networkDigest);
      case 'validationLaunch':
        return {
          ok:
            truth.image === wanted.imageDigest &&
            truth.layout === wanted.layoutDigest &&
            truth.network === wanted.networkDigest,
          changed: false,
        };
      case 'returnToService':
        truth.service = 'serving';
        record.dirty = [];
        return { ok: true, changed: false };
    }
  }

  /** What two ways of rebuilding must agree on. Boots are counted, but which boot it is makes no difference. */
  get state(): Omit<Truth, 'boot'> {
    const { boot: _, ...rest } = this.truth;
    return rest;
  }
}

export interface Rebuilt {
  readonly strategy: Strategy;
  readonly outcome: 'returned' | 'not-empty' | 'out';
  readonly tookMs: number;
  readonly passes: readonly PassLevel[];
  readonly feedback: Feedback;
}

/** Rebuilds as the workflow does: passes, each beginning anew, until one ends well or there is none left. */
export const rebuild = (host: ModelHost, feedback: Feedback, start?: 'full'): Rebuilt => {
  const strategy = workOutStrategy(host.facts(), wanted, feedback);
  const found: Partial<Record<SkippableStep, Found>> = {};
  const passes: PassLevel[] = [];
  let tookMs = 0;
  let level: PassLevel | 'outOfService' = start ?? firstLevel(strategy);
  while (level !== 'outOfService') {
    passes.push(level);
    const pass = strategyAt(level, strategy);
    const failed = rebuildSteps.find((step) => {
      if (skips(pass, step)) return false;
      const result = host.do(step);
      if (isSkippable(step)) found[step] ??= result;
      tookMs += typicalMs[step];
      return !result.ok;
    });
    if (failed === undefined) return end('returned');
    if (failed === 'verifyEmpty') return end('not-empty');
    level = nextLevel(level);
  }
  host.truth.service = 'out';
  return end('out');

  function end(outcome: Rebuilt['outcome']): Rebuilt {
    const validated = outcome === 'returned' && passes.length === 1;
    const learnt = outcome === 'not-empty' ? [] : learn(host.hostClass, strategy, found, validated);
    const next = learnt.reduce((sum, { key, outcome: seen }) => sum.noted(key, seen), feedback);
    return { strategy, outcome, tookMs, passes, feedback: next };
  }
};
