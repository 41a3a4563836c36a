/** Rebuilds of a simulated host: the same refusals as a real one's, and what each step leaves. */
import type { Handlers } from '#base/rpc/contract.ts';
import { PandoError } from '#contracts/errors.ts';
import { type InstanceFence, passFence } from '#contracts/fences.ts';
import type { CommandKey, hostContract } from '#contracts/host.ts';
import {
  firmwareDigest,
  type HostCondition,
  type HostRebuildStep,
  type HostWanted,
  layoutDigest,
  networkAsConfigured,
  type StepOutcome,
} from '#contracts/rebuild.ts';

/** What the host is made of. Tests spoil parts of it. */
export interface SimMachine {
  boot: number;
  life: number;
  firmware: Record<string, string>;
  image: string;
  layout: string;
  network: string;
  errors: number;
  memoryFault: boolean;
  dirty: string[];
  /** A tenant's VM has been here since the last scrub. */
  residue: boolean;
  /** What a scrub cannot overwrite, or reads back otherwise. */
  scrubFails: boolean;
  /** Guests do not answer. */
  guestsMute: boolean;
}

interface StepParams {
  readonly command: CommandKey;
  readonly step: HostRebuildStep;
  readonly wanted: HostWanted;
}

export interface SimRebuildParts {
  readonly hostId: string;
  /** Those that are there, in whatever state. */
  readonly vms: ReadonlyMap<string, unknown>;
  /** Streams break: the agent begins anew. */
  crash(): void;
}

export class SimRebuild {
  readonly machine: SimMachine = {
    ...{ boot: 1, life: 1, firmware: { bios: '1' }, image: 'sim', layout: '', network: '', errors: 0 },
    ...{ memoryFault: false, dirty: [], residue: false, scrubFails: false, guestsMute: false },
  };
  /** Carried out, in their order. */
  readonly steps: HostRebuildStep[] = [];
  /** What each was to bring about, the last time. */
  readonly wanted = new Map<HostRebuildStep, HostWanted>();
  isolated = false;
  /** The agent dies in the next run of this step: before anything of it is done, or before its answer is sent. */
  diesIn: { readonly step: HostRebuildStep; readonly when: 'before' | 'after' } | undefined;
  readonly #parts: SimRebuildParts;
  #fence: InstanceFence | undefined;
  /** The generation under which the host was found empty. */
  #emptyIn: number | undefined;
  /** The workflow for which it was power-cycled last. */
  #cycledFor: string | undefined;

  constructor(parts: SimRebuildParts) {
    this.#parts = parts;
  }

  get handlers(): Pick<Required<Handlers<typeof hostContract>>, 'rebuild.condition' | 'rebuild.step'> {
    return {
      'rebuild.condition': () => this.condition(),
      'rebuild.step': (params) => this.step(params),
    };
  }

  /** A host that is being rebuilt takes no VM. @throws IncorrectState */
  assertOpen(method: string): void {
    if (method !== 'vm.ensureImage' && method !== 'vm.prepareNetwork' && method !== 'vm.launch') return;
    if (this.#emptyIn !== undefined)
      throw new PandoError('IncorrectState', `${this.#parts.hostId} is being rebuilt: it takes no VM.`);
    this.machine.residue = true;
  }

  condition(): HostCondition {
    const { boot, life, firmware, image, layout, network, errors, dirty } = this.machine;
    const digest = firmwareDigest(firmware);
    return {
      ...{ bootId: `boot-${boot}`, lives: `life-${life}`, image, layout, network, errors, dirty: [...dirty] },
      ...{ firmware: digest, firmwareStaged: digest },
    };
  }

  step({ command, step, wanted }: StepParams): StepOutcome {
    this.#fence = passFence(this.#fence, command);
    this.#dies(step, 'before');
    const { ok, changed, detail } = this.#do(step, command, wanted);
    this.steps.push(step);
    this.wanted.set(step, wanted);
    this.#dies(step, 'after');
    return { ok, changed, detail, condition: this.condition() };
  }

  #dies(step: HostRebuildStep, when: 'before' | 'after'): void {
    if (this.diesIn?.step !== step || this.diesIn.when !== when) return;
    this.diesIn = undefined;
    this.machine.life += 1;
    this.#parts.crash();
    throw new PandoError('HostUnreachable', `${this.#parts.hostId} cannot be reached.`);
  }

  #do(
    step: HostRebuildStep,
    { workflowId, generation }: CommandKey,
    wanted: HostWanted,
  ): Omit<StepOutcome, 'condition'> {
    const { machine } = this;
    const done = (changed: boolean, detail = ''): Omit<StepOutcome, 'condition'> => ({
      ok: true,
      changed,
      detail,
    });
    const bad = (detail: string): Omit<StepOutcome, 'condition'> => ({ ok: false, changed: false, detail });
    switch (step) {
      case 'verifyEmpty': {
        const there = [...this.#parts.vms.keys()];
        if (there.length > 0) return bad(`there is ${there.join(', ')}`);
        this.#emptyIn = generation;
        return done(false);
      }
      case 'isolate': {
        const changed = !this.isolated;
        this.isolated = true;
        return done(changed);
      }
      case 'powerCycle': {
        if (this.#cycledFor === workflowId) return done(false);
        this.#cycledFor = workflowId;
        Object.assign(machine, { boot: machine.boot + 1, life: machine.life + 1, layout: '', network: '' });
        this.#parts.crash();
        throw new PandoError('HostUnreachable', `${this.#parts.hostId} begins anew.`);
      }
      case 'firmwareCheck': {
        const changed = Object.entries(wanted.firmware ?? {}).some(
          ([name, version]) => machine.firmware[name] !== version,
        );
        Object.assign(machine.firmware, wanted.firmware);
        return done(changed);
      }
      case 'diagnostics':
        return machine.memoryFault ? bad('memory: a pattern was not read back') : done(false);
      case 'scrub':
        return this.#scrub(generation);
      case 'hostImage': {
        const changed = wanted.image !== undefined && machine.image !== wanted.image;
        if (changed) machine.image = wanted.image ?? machine.image;
        return done(changed);
      }
      case 'slotLayout': {
        const layout = layoutDigest(wanted.layout);
        const changed = machine.layout !== layout;
        machine.layout = layout;
        return done(changed);
      }
      case 'networkConfiguration': {
        const changed = machine.network !== networkAsConfigured;
        machine.network = networkAsConfigured;
        return done(changed);
      }
      case 'validationLaunch':
        return machine.guestsMute ? bad('the guest was not heard') : done(false);
      case 'returnToService':
      case 'reopen':
        if (step === 'returnToService') machine.dirty = [];
        this.isolated = false;
        this.#emptyIn = undefined;
        return done(true);
    }
  }

  #scrub(generation: number | undefined): Omit<StepOutcome, 'condition'> {
    const there = [...this.#parts.vms.keys()];
    if (generation === undefined || this.#emptyIn !== generation || there.length > 0)
      throw new PandoError(
        'IncorrectState',
        `${this.#parts.hostId} was not proved empty under generation ${generation}: nothing is scrubbed.`,
      );
    const { residue, scrubFails } = this.machine;
    if (scrubFails) return { ok: false, changed: false, detail: 'a file was not read back as overwritten' };
    this.machine.residue = false;
    return { ok: true, changed: residue, detail: '' };
  }
}
