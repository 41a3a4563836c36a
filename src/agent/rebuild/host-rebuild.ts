/** A host's own part in its rebuild: who may command it, one step at a time, and what stays on record of it. */
import { randomUUID } from 'node:crypto';
import { codeDigestOf } from '#base/codeDigest.ts';
import type { Handlers } from '#base/rpc/contract.ts';
import { PandoError } from '#contracts/errors.ts';
import { passFence } from '#contracts/fences.ts';
import type { CommandKey, hostContract } from '#contracts/host.ts';
import type { HostCondition, HostRebuildStep, HostWanted, StepOutcome } from '#contracts/rebuild.ts';
import type { Host } from '../host.ts';
import { rebuildStepsWaitingMax } from '../limits.ts';
import { SerialQueue } from '../serial-queue.ts';
import { type ConditionParts, conditionOf } from './condition.ts';
import type { Machine } from './machine.ts';
import type { RebuildRecord } from './record.ts';
import * as steps from './steps.ts';

export interface HostRebuildParts {
  readonly host: Host;
  readonly record: RebuildRecord;
  readonly machine: Machine;
  /** Where the agent's code lies. */
  readonly codeTree: string;
  /** Ends this process; its supervisor starts it again. */
  restart(): void;
}

interface StepParams {
  readonly command: CommandKey;
  readonly step: HostRebuildStep;
  readonly wanted: HostWanted;
}

/** What a failure of the step says of the host outlasts this rebuild: the next one trusts nothing on record. */
const spoils: ReadonlySet<HostRebuildStep> = new Set(['diagnostics', 'scrub', 'validationLaunch']);

export class HostRebuild {
  readonly #parts: HostRebuildParts;
  readonly #life = randomUUID();
  readonly #running: string;
  readonly #queue = new SerialQueue(rebuildStepsWaitingMax);
  /** It is being looked at whether anything is here: what came in meanwhile would not be seen. */
  #looking = false;

  constructor(parts: HostRebuildParts) {
    this.#parts = parts;
    this.#running = codeDigestOf('agent', parts.codeTree);
  }

  get handlers(): Pick<Required<Handlers<typeof hostContract>>, 'rebuild.condition' | 'rebuild.step'> {
    return {
      'rebuild.condition': () => this.condition(),
      'rebuild.step': (params) => this.#queue.run(() => this.#step(params)),
    };
  }

  /** A host that is being rebuilt takes no VM. @throws IncorrectState */
  assertOpen(): void {
    if (this.#looking || this.#parts.record.state.emptyIn !== undefined)
      throw new PandoError(
        'IncorrectState',
        `${this.#parts.host.context.config.hostId} is being rebuilt: it takes no VM.`,
      );
  }

  /** Its generations are another cell's from now on: the former one is not let in any more. A host that is closed stays so. */
  rehomed(): Promise<void> {
    return this.#parts.record.change({ fence: undefined });
  }

  condition(): Promise<HostCondition> {
    return conditionOf(this.#conditionParts(), this.#parts.record.state);
  }

  #conditionParts(): ConditionParts {
    const { host, machine } = this.#parts;
    const records = host.vms.map((vm) => vm.record);
    const interfaces = records.flatMap(({ network }) => network?.port.eniId ?? []);
    const used = { taps: new Set(records.map(({ tap }) => tap)), interfaces: new Set(interfaces) };
    return { context: host.context, machine, image: this.#running, life: this.#life, used };
  }

  async #step({ command, step, wanted }: StepParams): Promise<StepOutcome> {
    const { host, record } = this.#parts;
    const { fence } = record.state;
    const heard = passFence(fence, command);
    // Before anything is done: an agent that dies in its middle refuses former owners in its next life too.
    if (heard !== fence) await record.change({ fence: heard });
    const outcome = await this.#do(step, command, wanted);
    const { log, config } = host.context;
    log.info(
      { hostId: config.hostId, workflow: command.workflowId, step, ...outcome },
      'a step of a rebuild',
    );
    if (!outcome.ok && spoils.has(step))
      await record.change({ dirty: [`${step}: ${outcome.detail}`.slice(0, 256)] });
    return { ...outcome, condition: await this.condition() };
  }

  async #do(step: HostRebuildStep, key: CommandKey, wanted: HostWanted): Promise<steps.Done> {
    const parts = this.#stepParts();
    switch (step) {
      case 'verifyEmpty':
        return this.#verifyEmpty(parts, key);
      case 'isolate':
        return steps.isolate(parts);
      case 'powerCycle':
        return this.#powerCycle(key);
      case 'firmwareCheck':
        return steps.checkFirmware(parts, wanted);
      case 'diagnostics':
        return steps.runDiagnostics(parts, wanted);
      case 'scrub':
        await steps.dropValidation(parts, key);
        return steps.scrub(parts, key);
      case 'hostImage': {
        const outcome = steps.checkImage(parts, wanted);
        return outcome === 'restart' ? this.#beginAnew() : outcome;
      }
      case 'slotLayout':
        return steps.layOut(parts, wanted);
      case 'networkConfiguration':
        return steps.configureNetwork(parts);
      case 'validationLaunch':
        return steps.validate(parts, key, wanted);
      case 'returnToService':
      case 'reopen':
        return steps.open(parts, step === 'returnToService');
    }
  }

  #stepParts(): steps.StepParts {
    const { host, record, machine, codeTree } = this.#parts;
    const code = { tree: codeTree, running: this.#running };
    return { ...{ host, record, machine, code }, condition: () => this.#conditionParts() };
  }

  async #verifyEmpty(parts: steps.StepParts, key: CommandKey): Promise<steps.Done> {
    this.#looking = true;
    try {
      await steps.dropValidation(parts, key);
      const there = await steps.whatIsHere(parts);
      if (there.length > 0) return steps.bad(`there is ${there.join(', ')}`);
      if (key.generation === undefined) return steps.bad('a rebuild without a generation proves nothing');
      await parts.record.change({ emptyIn: key.generation });
      return steps.done(false);
    } finally {
      this.#looking = false;
    }
  }

  async #powerCycle({ workflowId }: CommandKey): Promise<steps.Done> {
    const { host, record } = this.#parts;
    if (record.state.cycledFor === workflowId) return steps.done(false, 'agent and card have begun anew');
    await host.context.card.rebuild('card.restart', {});
    await record.change({ cycledFor: workflowId });
    return this.#beginAnew();
  }

  /** @throws HostUnreachable: the next agent answers */
  #beginAnew(): never {
    const { host, restart } = this.#parts;
    setImmediate(restart);
    throw new PandoError('HostUnreachable', `${host.context.config.hostId} begins anew.`);
  }
}
