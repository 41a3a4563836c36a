/**
 * Runs the command that makes the next cell, once a cell says that a limit of it nears (S3.7). The command decides: it asks all cells, and
 * makes nothing where one of the zone has room. So this only has to be told often enough, and not too often.
 */
import { spawn } from 'node:child_process';
import { monotonicMs } from '#base/monotonic.ts';
import { environment } from './confine.ts';
import { codeDirectory } from './directory.ts';

/** From one end to the next start: a new cell needs a moment until its word counts. */
const restMs = 20_000;
/** After a failure: an operator's own command may hold the lock, or the machine has no more cells to give. */
const restAfterFailureMs = 60_000;

export interface GrowthOptions {
  readonly restMs?: number;
  readonly restAfterFailureMs?: number;
  log(line: string): void;
}

export class Growth {
  readonly #options: GrowthOptions;
  #running = false;
  #notBeforeMs = Number.NEGATIVE_INFINITY;

  constructor(options: GrowthOptions) {
    this.#options = options;
  }

  /** Starts the command where it is due. Waits for nothing: it may ask the supervisor itself. */
  look(due: boolean, command: readonly string[] | undefined): void {
    const [file, ...args] = command ?? [];
    if (!due || file === undefined || this.#running || monotonicMs() < this.#notBeforeMs) return;
    this.#running = true;
    this.#options.log('a cell is nearly full: the next one is made if its zone has no other with room');
    const child = spawn(file, args, {
      cwd: codeDirectory,
      stdio: ['ignore', 'inherit', 'inherit'],
      env: environment(process.env),
    });
    child.once('error', (error) => this.#ended(`did not start: ${error.message}`));
    child.once('exit', (code, signal) =>
      this.#ended(code === 0 ? undefined : `ended with ${signal ?? code}`),
    );
  }

  #ended(failure: string | undefined): void {
    const { restMs: rest = restMs, restAfterFailureMs: longRest = restAfterFailureMs, log } = this.#options;
    this.#running = false;
    this.#notBeforeMs = monotonicMs() + (failure === undefined ? rest : longRest);
    if (failure !== undefined)
      log(`ALARM: the next cell is due and was not made: the command ${failure}. By hand: pando cell create`);
  }
}
