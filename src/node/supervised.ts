/**
 * One process under supervision.
 *
 *   stopped → starting ⇄ ready        dies → waiting (back-off) → starting
 *
 * One that runs by a former specification may be outdated: it goes on until it is replaced, or dies.
 * Readiness is checked for as long as it lives. A process that has lost its peers is starting again, and says what it lacks.
 * A process outlives its supervisor: it has a session of its own, and its output goes to a file. It is known by (pid, start time), so
 * that the next supervisor adopts it.
 */
import { spawn } from 'node:child_process';
import { closeSync, openSync, readFileSync, rmSync } from 'node:fs';
import { dirname } from 'node:path';
import { z } from 'zod';
import { monotonicMs } from '#base/monotonic.ts';
import { writeAtomicallySync } from '#base/writeAtomically.ts';
import { nodeFlags } from './compiledCode.ts';
import { confined, environment } from './confine.ts';
import { codeDirectory, type RunDirectory } from './directory.ts';
import { startPostgres } from './embedded-postgres.ts';
import { give } from './ownership.ts';
import {
  ageMs,
  endProcess,
  identify,
  isAlive,
  type ProcessIdentity,
  processIdentity,
  startedAtMs,
} from './processIdentity.ts';
import { type NodeSpec, type PostgresSpec, type ProcessSpec, specDigest } from './processSpec.ts';
import type { Missing } from './readiness.ts';

export const backoffMsMin = 100;
export const backoffMsMax = 10_000;
/** A process that lived this long starts again without having to wait. */
const steadyMs = 20_000;
const stopGraceMs = 5_000;
/** How often a process that was ready is asked whether it still is. */
const lookAgainMs = 2_000;

const pidRecord = processIdentity.extend({
  digest: z.string(),
  /** Its successor may be started beside it. Absent: it was started by a release that did not know of that. */
  overlaps: z.boolean().optional(),
  /** The one before it, which serves until it is ready itself. */
  former: processIdentity.optional(),
});

export type SupervisedState =
  | { readonly kind: 'stopped' }
  | { readonly kind: 'starting'; readonly identity: ProcessIdentity; readonly missing: string }
  | { readonly kind: 'ready'; readonly identity: ProcessIdentity }
  | { readonly kind: 'waiting'; readonly untilMs: number; readonly reason: string };

export interface SupervisedStatus {
  readonly name: string;
  readonly state: SupervisedState['kind'];
  readonly pid?: number;
  /** When this life of the process began, epoch milliseconds. */
  readonly startedAtMs?: number;
  readonly restarts: number;
  /** Why it is not ready. */
  readonly reason?: string;
  /** It runs by a former specification, and is going to be replaced. */
  readonly outdated?: boolean;
}

export class Supervised {
  #spec: ProcessSpec;
  readonly #directory: RunDirectory;
  readonly #missing: Missing;
  readonly #log: (line: string) => void;
  #state: SupervisedState = { kind: 'stopped' };
  #startedAtMs = 0;
  #backoffMs = 0;
  #restarts = 0;
  #lastExit = '';
  #looking = false;
  #lookAtMs = 0;
  #outdated = false;
  /** Serves until its successor is ready. */
  #former: ProcessIdentity | undefined;
  /** It has been told to end, and finishes what it has begun: its successor serves. */
  #formerEnds: Promise<void> | undefined;

  constructor(spec: ProcessSpec, directory: RunDirectory, missing: Missing, log: (line: string) => void) {
    this.#spec = spec;
    this.#directory = directory;
    this.#missing = missing;
    this.#log = log;
  }

  get spec(): ProcessSpec {
    return this.#spec;
  }

  /** Takes a specification with the same digest: what it waits for, or when it is ready, may be another. */
  respecify(spec: ProcessSpec): void {
    this.#spec = spec;
    this.#lookAtMs = 0;
  }

  /** Whether it runs by a former specification. */
  get outdated(): boolean {
    return this.#outdated;
  }

  /** What was found of its peers may no longer be true. */
  lookAgain(): void {
    this.#lookAtMs = 0;
  }

  get ready(): boolean {
    return this.#state.kind === 'ready';
  }

  get status(): SupervisedStatus {
    const state = this.#state;
    const base = { name: this.spec.name, state: state.kind, restarts: this.#restarts };
    if (state.kind === 'stopped') return base;
    if (state.kind === 'waiting') return { ...base, reason: state.reason };
    return {
      ...base,
      pid: state.identity.pid,
      startedAtMs: startedAtMs(state.identity),
      ...(this.#outdated ? { outdated: true } : {}),
      ...(state.kind === 'starting' && state.missing !== '' ? { reason: state.missing } : {}),
    };
  }

  /**
   * Takes over the process that a former supervisor left running. A process of an older specification is ended. With `replacedLater` it
   * is outdated instead, and runs on.
   */
  async adopt(replacedLater = false): Promise<void> {
    const record = this.#readRecord();
    this.#former = record?.former;
    if (record === undefined || !isAlive(record)) return;
    this.#outdated = record.digest !== specDigest(this.spec);
    if (this.#outdated && !replacedLater) {
      this.#log(`${this.spec.name}: its configuration has changed; starting it anew`);
      await this.#end(record);
      await this.#endFormer();
      this.#outdated = false;
      return;
    }
    this.#state = { kind: 'starting', identity: record, missing: '' };
    this.#startedAtMs = monotonicMs() - ageMs(record);
  }

  /** Ends it and starts it by its present specification; where it overlaps, the next is started first. */
  async replace(): Promise<void> {
    const record = this.#readRecord();
    const { spec } = this;
    if (record?.overlaps !== true || spec.kind !== 'node' || spec.overlaps !== true || !isAlive(record)) {
      await this.stop();
    } else {
      await this.#formerEnds;
      if (this.#serving === undefined) this.#former = record;
      // The next of an earlier replacement, which has not become ready.
      else await this.#end(record);
    }
    await this.#start();
  }

  /** The former one, if it still lives. */
  get #serving(): ProcessIdentity | undefined {
    return this.#former !== undefined && isAlive(this.#former) ? this.#former : undefined;
  }

  #endFormer(): Promise<void> {
    const former = this.#former;
    if (former === undefined) return Promise.resolve();
    // The grace lets it finish the answers that it has begun.
    this.#formerEnds ??= endProcess(former, 2 * stopGraceMs).finally(() => {
      this.#formerEnds = undefined;
      if (this.#former === former) this.#former = undefined;
    });
    return this.#formerEnds;
  }

  /** One look: notices death, checks readiness, starts when it is time and `mayStart`. Never throws. */
  async tick(mayStart: boolean): Promise<void> {
    switch (this.#state.kind) {
      case 'stopped':
        if (mayStart) await this.#start();
        return;
      case 'waiting':
        if (mayStart && monotonicMs() >= this.#state.untilMs) await this.#start();
        return;
      case 'starting':
      case 'ready':
        if (!isAlive(this.#state.identity)) this.#died(this.#lastExit || 'it ended');
        else if (monotonicMs() >= this.#lookAtMs) void this.#look(this.#state.identity);
    }
  }

  /** Asks whether it is ready, beside the ticks: a process that answers slowly delays the check of no other. */
  async #look(identity: ProcessIdentity): Promise<void> {
    if (this.#looking) return;
    this.#looking = true;
    const missing = await this.#missing(this.spec, identity.pid);
    this.#looking = false;
    const state = this.#state;
    // It may have died, or been started again, while we asked.
    if ((state.kind !== 'starting' && state.kind !== 'ready') || state.identity !== identity) return;
    if (state.kind === 'ready' && missing !== undefined) this.#log(`${this.spec.name}: ${missing}`);
    this.#state =
      missing === undefined ? { kind: 'ready', identity } : { kind: 'starting', identity, missing };
    this.#lookAtMs = missing === undefined ? monotonicMs() + lookAgainMs : 0;
    if (missing !== undefined || this.#former === undefined) return;
    await this.#endFormer();
    // Whoever stopped it meanwhile has removed its record, and perhaps the directory.
    const { kind } = this.#state;
    const isStill = (kind === 'starting' || kind === 'ready') && this.#state.identity === identity;
    if (isStill && isAlive(identity)) this.#writeRecord(identity);
  }

  /** Ends the process, if it runs, and forgets it. */
  async stop(): Promise<void> {
    const record = this.#readRecord();
    this.#state = { kind: 'stopped' };
    this.#outdated = false;
    this.#backoffMs = 0;
    if (record !== undefined && isAlive(record)) await this.#end(record);
    await this.#endFormer();
    rmSync(this.#directory.pidFile(this.spec.name), { force: true });
  }

  /** PostgreSQL takes SIGTERM as leave to wait for its clients; SIGINT disconnects them. */
  #end(identity: ProcessIdentity): Promise<void> {
    return this.spec.kind === 'postgres'
      ? endProcess(identity, 2 * stopGraceMs, 'SIGINT')
      : endProcess(identity, stopGraceMs);
  }

  async #start(): Promise<void> {
    this.#lastExit = '';
    this.#outdated = false;
    try {
      const pid =
        this.spec.kind === 'node' ? await this.#spawnNode(this.spec) : await this.#startPostgres(this.spec);
      const identity = identify(pid);
      if (identity === undefined) throw new Error('it ended at once');
      this.#writeRecord(identity);
      this.#startedAtMs = monotonicMs();
      this.#state = { kind: 'starting', identity, missing: '' };
      this.#lookAtMs = 0;
    } catch (error) {
      this.#died(error instanceof Error ? error.message : String(error));
    }
  }

  async #spawnNode(spec: NodeSpec): Promise<number> {
    const node = [
      process.execPath,
      ...nodeFlags,
      spec.entry,
      '--config',
      spec.configPath,
      ...(this.#serving === undefined ? [] : ['--takes-over']),
    ];
    const inside = spec.netns === undefined ? [] : ['nsenter', `--net=/run/netns/${spec.netns}`, '--'];
    if (spec.user !== undefined)
      for (const path of [spec.configPath, ...(spec.owns ?? [])]) give(path, spec.user);
    const { user, capabilities } = spec;
    const own = confined({ user, capabilities, reaches: [this.#directory.root] }, node);
    const [command = process.execPath, ...args] = [...inside, ...own];
    const output = openSync(this.#directory.logFile(spec.name), 'a', 0o600);
    try {
      const child = spawn(command, args, {
        cwd: codeDirectory,
        detached: true,
        stdio: ['ignore', output, output],
        env: {
          ...environment(process.env),
          ...spec.env,
          NODE_COMPILE_CACHE: this.#directory.compiled,
          PATH: `${dirname(process.execPath)}:${process.env.PATH ?? ''}`,
        },
      });
      child.once('exit', (code, signal) => {
        this.#lastExit = signal === null ? `exit code ${code}` : `ended by ${signal}`;
      });
      await new Promise<void>((resolve, reject) => {
        child.once('spawn', resolve);
        child.once('error', reject);
      });
      child.unref();
      if (child.pid === undefined) throw new Error(`${command} did not start`);
      return child.pid;
    } finally {
      closeSync(output);
    }
  }

  async #startPostgres(spec: PostgresSpec): Promise<number> {
    const { dataDir, socketDir, user } = spec;
    return (
      await startPostgres({ dataDir, socketDir, user, log: (line) => this.#log(`${spec.name}: ${line}`) })
    ).pid;
  }

  #died(reason: string): void {
    const lived = this.#startedAtMs === 0 ? 0 : monotonicMs() - this.#startedAtMs;
    this.#startedAtMs = 0;
    this.#backoffMs =
      lived > steadyMs ? backoffMsMin : Math.min(backoffMsMax, Math.max(backoffMsMin, this.#backoffMs * 2));
    this.#restarts += 1;
    this.#log(`${this.spec.name}: ${reason}; starting it again in ${this.#backoffMs} ms`);
    this.#state = { kind: 'waiting', untilMs: monotonicMs() + this.#backoffMs, reason };
  }

  #readRecord(): z.infer<typeof pidRecord> | undefined {
    try {
      return pidRecord.parse(JSON.parse(readFileSync(this.#directory.pidFile(this.spec.name), 'utf8')));
    } catch {
      return undefined;
    }
  }

  #writeRecord(identity: ProcessIdentity): void {
    const { spec } = this;
    const overlaps = spec.kind === 'node' && spec.overlaps === true ? { overlaps: true } : {};
    const record: z.infer<typeof pidRecord> = {
      ...{ ...identity, digest: specDigest(spec) },
      ...overlaps,
      ...(this.#serving === undefined ? {} : { former: this.#serving }),
    };
    writeAtomicallySync(this.#directory.pidFile(spec.name), JSON.stringify(record));
  }
}
