/** Processes that are started again whenever they die, as the supervisor does: Node's and PostgreSQL's. */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { type RunningPostgres, startPostgres } from '#node/embedded-postgres.ts';

export interface Killable {
  readonly name: string;
  /** `kill -9`. False: it is dead already. */
  kill(): boolean;
  stop(): Promise<void>;
}

const restartMs = 100;

/** A deployable in a process of its own, with its configuration in `directory`. */
export class NodeProcess implements Killable {
  readonly name: string;
  readonly #args: readonly string[];
  #child: ChildProcess | undefined;
  #stopped = false;
  starts = 0;

  private constructor(name: string, args: readonly string[]) {
    this.name = name;
    this.#args = args;
  }

  static async start(name: string, deployable: string, directory: string, config: object) {
    const file = join(directory, `${name}.json`);
    await writeFile(file, JSON.stringify(config));
    const entry = new URL(`../../../src/${deployable}/main.ts`, import.meta.url).pathname;
    const process = new NodeProcess(name, [entry, '--config', file]);
    process.#start();
    return process;
  }

  #start(): void {
    const level = process.env.PANDO_LOG;
    this.starts += 1;
    const child = spawn(process.execPath, this.#args, {
      stdio: ['ignore', level === undefined ? 'ignore' : 'inherit', 'inherit'],
      env: { ...process.env, PANDO_LOG: level ?? 'silent' },
    });
    this.#child = child;
    child.once('exit', () => {
      this.#child = undefined;
      // It may have been resumed meanwhile: a second one of its name would be nobody's.
      setTimeout(() => this.#stopped || this.#child !== undefined || this.#start(), restartMs);
    });
  }

  kill(): boolean {
    return this.#child?.kill('SIGKILL') ?? false;
  }

  /** Starts one that was stopped. */
  resume(): void {
    this.#stopped = false;
    if (this.#child === undefined) this.#start();
  }

  async stop(): Promise<void> {
    this.#stopped = true;
    const child = this.#child;
    if (child === undefined) return;
    const gone = once(child, 'exit');
    child.kill('SIGKILL');
    await gone;
  }
}

/** A PostgreSQL server of its own. What was committed outlives its processes; `fsync` is for machines that lose power. */
export class StoreProcess implements Killable {
  readonly name: string;
  readonly #directory: string;
  #running: RunningPostgres;
  #next: Promise<void> | undefined;
  #stopped = false;

  private constructor(name: string, directory: string, running: RunningPostgres) {
    this.name = name;
    this.#directory = directory;
    this.#running = running;
  }

  static async start(name: string, directory: string): Promise<StoreProcess> {
    const own = join(directory, name);
    await mkdir(own);
    return new StoreProcess(name, own, await launch(own));
  }

  get url(): string {
    return this.#running.url;
  }

  kill(): boolean {
    if (this.#next !== undefined) return false;
    process.kill(this.#running.pid, 'SIGKILL');
    this.#next = delay(restartMs)
      .then(async () => {
        if (!this.#stopped) this.#running = await launch(this.#directory);
      })
      .finally(() => {
        this.#next = undefined;
      });
    return true;
  }

  async stop(): Promise<void> {
    this.#stopped = true;
    await this.#next;
    await this.#running.stop();
  }
}

const launch = (directory: string): Promise<RunningPostgres> =>
  startPostgres({
    dataDir: join(directory, 'd'),
    socketDir: join(directory, 's'),
    dieWithParent: true,
    settings: { fsync: 'off', shared_buffers: '16MB' },
  });
