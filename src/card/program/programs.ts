/** The version of the card's program that this process is, and the way to another: by the fleet's settings (`cardProgram`). */
import { mkdirSync } from 'node:fs';
import { monotonicMs } from '#base/monotonic.ts';
import { PandoError } from '#contracts/errors.ts';
import {
  failed,
  leftMs,
  type ProgramRecord,
  readRecord,
  recordPath,
  type Trial,
  writeRecord,
} from './record.ts';
import { treeOf, versionOfThisTree } from './trees.ts';

/** Tells a process which version it is; absent: the machine's own. */
export const programVariable = 'PANDO_CARD_PROGRAM';
/** Tells a process that is another which one the machine's own is. */
export const machineVariable = 'PANDO_CARD_MACHINE_PROGRAM';

/** A version that no rollout confirms has so long to be heard by its agent. */
export const trialMsDefault = 30_000;
/** A version that failed without a rollout is not tried again for so long. */
const failedRestMs = 600_000;

/** The way to another version. */
export interface Switch {
  readonly version: string | undefined;
  /** Whose confirmation settles it; undefined: it is the one before, which runs without a trial. */
  readonly transactionId: string | undefined;
  readonly withinMs: number;
  readonly byAgent: boolean;
}

export class Programs {
  readonly #path: string;
  readonly #stateDir: string;
  readonly #programsDir: string | undefined;
  readonly #running: string | undefined;
  readonly #machines: string | undefined;
  readonly #end: () => void;
  #record: ProgramRecord;

  /** `end` ends this process: its supervisor starts it again, as what the record says then. */
  constructor(options: {
    readonly stateDir: string;
    readonly programsDir: string | undefined;
    readonly running: string | undefined;
    /** The machine's own version; absent: this process is it. */
    readonly machines: string | undefined;
    readonly end: () => void;
  }) {
    this.#stateDir = options.stateDir;
    this.#path = recordPath(options.stateDir);
    this.#programsDir = options.programsDir;
    this.#running = options.running;
    this.#machines = options.machines;
    this.#end = options.end;
    this.#record = readRecord(this.#path);
  }

  /** Of the code that runs. */
  get version(): string {
    return this.#running ?? versionOfThisTree();
  }

  /** This process's trial, and what is left of its time. */
  get trial(): (Trial & { readonly leftMs: number }) | undefined {
    const { trial } = this.#record;
    if (trial?.begun !== true || trial.version !== this.#running) return undefined;
    return { ...trial, leftMs: leftMs(trial, monotonicMs()) };
  }

  /**
   * What has to be done so that `wanted` runs; undefined: it does. @throws InvalidParameterValue: it is not here; IncorrectState: it was
   * tried in this transaction, and failed
   */
  switchTo(
    wanted: string | undefined,
    {
      transactionId,
      confirmWithinMs,
    }: { transactionId?: string | undefined; confirmWithinMs?: number | undefined },
  ): Switch | undefined {
    const version =
      wanted === undefined || wanted === (this.#machines ?? versionOfThisTree()) ? undefined : wanted;
    if (version === this.#running) return undefined;
    if (version !== undefined) treeOf(version, this.#programsDir);
    if (version === this.#record.settled)
      return { version, transactionId: undefined, withinMs: 0, byAgent: false };
    const byAgent = confirmWithinMs === undefined || transactionId === undefined;
    const own = byAgent ? `program/${version ?? 'own'}` : transactionId;
    this.#refuseFailed(own, byAgent);
    return { version, transactionId: own, withinMs: confirmWithinMs ?? trialMsDefault, byAgent };
  }

  #refuseFailed(transactionId: string, rests: boolean): void {
    const before = this.#record.failed.find((each) => each.transactionId === transactionId);
    if (before === undefined) return;
    const ageMs = monotonicMs() - before.atMs;
    // A clock that went back is another boot's.
    if (rests && (ageMs < 0 || ageMs > failedRestMs)) return;
    throw new PandoError('IncorrectState', `ProgramFailed: ${before.detail}.`);
  }

  /** Ends this process, which begins again as that version. `givenUp`: why the present trial is, where it failed. */
  become({ version, transactionId, withinMs, byAgent }: Switch, givenUp?: string): void {
    const nowMs = monotonicMs();
    const { settled, failed: failures } =
      givenUp === undefined ? this.#record : failed(this.#record, givenUp, nowMs);
    const trial = transactionId !== undefined && {
      ...{ version, transactionId, withinMs, byAgent, begun: false },
      untilMs: nowMs + withinMs,
    };
    this.#write({ settled, failed: failures, ...(trial && { trial }) });
    this.#end();
  }

  /** The trial of this transaction is over: what runs stays. Another transaction: nothing. */
  settle(transactionId: string): void {
    if (this.trial?.transactionId !== transactionId) return;
    this.#write({ settled: this.#running, failed: this.#record.failed });
  }

  #write(record: ProgramRecord): void {
    mkdirSync(this.#stateDir, { recursive: true });
    writeRecord(this.#path, record);
    this.#record = record;
  }
}
