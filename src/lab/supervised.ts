/**
 * One process under supervision.
 *
 *   stopped → starting → ready ⇄ starting        dies → waiting (back-off) → starting
 *
 * A process outlives its supervisor: it is started in a session of its own with its output in a file, and known by
 * (pid, start time), so that the next supervisor adopts it.
 */
import { spawn } from 'node:child_process';
import { closeSync, openSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { dirname } from 'node:path';
import { z } from 'zod';
import { codeDirectory, type RunDirectory } from './directory.ts';
import { startPostgres } from './embedded-postgres.ts';
import {
  endProcess,
  identify,
  isAlive,
  type ProcessIdentity,
  processIdentity,
  startedAtMs,
} from './processIdentity.ts';
import { type NodeSpec, type PostgresSpec, type ProcessSpec, specDigest } from './processSpec.ts';
import type { Readiness } from './readiness.ts';

export const backoffMsMin = 100;
export const backoffMsMax = 10_000;
/** A process that lived this long starts again without having to wait. */
const steadyMs = 20_000;
const stopGraceMs = 5_000;

const pidRecord = processIdentity.extend({ digest: z.string() });

export type SupervisedState =
  | { readonly kind: 'stopped' }
  | { readonly kind: 'starting'; readonly identity: ProcessIdentity }
  | { readonly kind: 'ready'; readonly identity: ProcessIdentity }
  | { readonly kind: 'waiting'; readonly untilMs: number; readonly reason: string };

export interface SupervisedStatus {
  readonly name: string;
  readonly state: SupervisedState['kind'];
  readonly pid?: number;
  /** When this life of the process began, epoch milliseconds. */
  readonly startedAtMs?: number;
  readonly restarts: number;
  readonly reason?: string;
}

export class Supervised {
  readonly spec: ProcessSpec;
  readonly #directory: RunDirectory;
  readonly #readiness: Readiness;
  readonly #log: (line: string) => void;
  #state: SupervisedState = { kind: 'stopped' };
  #startedAtMs = 0;
  #backoffMs = 0;
  #restarts = 0;
  #lastExit = '';

  constructor(spec: ProcessSpec, directory: RunDirectory, readiness: Readiness, log: (line: string) => void) {
    this.spec = spec;
    this.#directory = directory;
    this.#readiness = readiness;
    this.#log = log;
  }

  get ready(): boolean {
    return this.#state.kind === 'ready';
  }

  get status(): SupervisedStatus {
    const base = { name: this.spec.name, state: this.#state.kind, restarts: this.#restarts };
    if (this.#state.kind === 'waiting') return { ...base, reason: this.#state.reason };
    return this.#state.kind === 'stopped'
      ? base
      : { ...base, pid: this.#state.identity.pid, startedAtMs: startedAtMs(this.#state.identity) };
  }

  /** Takes over the process that a former supervisor left running; one that follows an older specification is ended. */
  async adopt(): Promise<void> {
    const record = this.#readRecord();
    if (record === undefined || !isAlive(record)) return;
    if (record.digest !== specDigest(this.spec)) {
      this.#log(`${this.spec.name}: its configuration has changed; starting it anew`);
      await this.#end(record);
      return;
    }
    this.#state = { kind: 'starting', identity: record };
    this.#startedAtMs = startedAtMs(record);
  }

  /** One look: notices death, checks readiness, starts when it is time and `mayStart`. Never throws. */
  async tick(mayStart: boolean): Promise<void> {
    switch (this.#state.kind) {
      case 'stopped':
        if (mayStart) await this.#start();
        return;
      case 'waiting':
        if (mayStart && Date.now() >= this.#state.untilMs) await this.#start();
        return;
      case 'starting':
      case 'ready':
        if (!isAlive(this.#state.identity)) this.#died(this.#lastExit || 'it ended');
        else if (
          this.#state.kind === 'starting' &&
          (await this.#readiness(this.spec, this.#state.identity.pid))
        )
          this.#state = { kind: 'ready', identity: this.#state.identity };
    }
  }

  /** Ends the process, if it runs, and forgets it. */
  async stop(): Promise<void> {
    const record = this.#readRecord();
    this.#state = { kind: 'stopped' };
    this.#backoffMs = 0;
    if (record !== undefined && isAlive(record)) await this.#end(record);
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
    try {
      const pid =
        this.spec.kind === 'node' ? await this.#spawnNode(this.spec) : await this.#startPostgres(this.spec);
      const identity = identify(pid);
      if (identity === undefined) throw new Error('it ended at once');
      this.#writeRecord(identity);
      this.#startedAtMs = Date.now();
      this.#state = { kind: 'starting', identity };
    } catch (error) {
      this.#died(error instanceof Error ? error.message : String(error));
    }
  }

  async #spawnNode(spec: NodeSpec): Promise<number> {
    const node = [
      process.execPath,
      '--disable-warning=ExperimentalWarning',
      spec.entry,
      '--config',
      spec.configPath,
    ];
    const inside = spec.netns === undefined ? [] : ['nsenter', `--net=/run/netns/${spec.netns}`, '--'];
    const [command = process.execPath, ...args] = [...inside, ...node];
    const output = openSync(this.#directory.logFile(spec.name), 'a', 0o600);
    try {
      const child = spawn(command, args, {
        cwd: codeDirectory,
        detached: true,
        stdio: ['ignore', output, output],
        env: { ...process.env, PATH: `${dirname(process.execPath)}:${process.env.PATH ?? ''}` },
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
    const { dataDir, socketDir } = spec;
    return (await startPostgres({ dataDir, socketDir, log: (line) => this.#log(`${spec.name}: ${line}`) }))
      .pid;
  }

  #died(reason: string): void {
    const lived = this.#startedAtMs === 0 ? 0 : Date.now() - this.#startedAtMs;
    this.#startedAtMs = 0;
    this.#backoffMs =
      lived > steadyMs ? backoffMsMin : Math.min(backoffMsMax, Math.max(backoffMsMin, this.#backoffMs * 2));
    this.#restarts += 1;
    this.#log(`${this.spec.name}: ${reason}; starting it again in ${this.#backoffMs} ms`);
    this.#state = { kind: 'waiting', untilMs: Date.now() + this.#backoffMs, reason };
  }

  #readRecord(): z.infer<typeof pidRecord> | undefined {
    try {
      return pidRecord.parse(JSON.parse(readFileSync(this.#directory.pidFile(this.spec.name), 'utf8')));
    } catch {
      return undefined;
    }
  }

  #writeRecord(identity: ProcessIdentity): void {
    const path = this.#directory.pidFile(this.spec.name);
    writeFileSync(`${path}.new`, JSON.stringify({ ...identity, digest: specDigest(this.spec) }), {
      mode: 0o600,
    });
    renameSync(`${path}.new`, path);
  }
}
