/** A shell that stays: scripts run in it one after another, each from a clean state. */
import { randomBytes } from 'node:crypto';
import { ExecError } from './exec.ts';
import { KeptProcess, type Task } from './keptProcess.ts';

export class KeptShell {
  readonly #process: KeptProcess;

  /** Starts `command args…`, which must end as a POSIX shell that reads its standard input. */
  constructor(command: string, args: readonly string[]) {
    this.#process = new KeptProcess(command, args);
  }

  /** Of the shell; undefined: it could not be started. */
  get pid(): number | undefined {
    return this.#process.pid;
  }

  /** Whether a script runs or waits. */
  get busy(): boolean {
    return this.#process.busy;
  }

  /** Whether it takes no more scripts. */
  get ended(): boolean {
    return this.#process.ended;
  }

  /**
   * Runs the script after those before it, up to its first command that fails, and returns what it printed. Errors: {@link ExecError}
   * when it fails, takes longer than `timeoutMs`, or prints too much; after the latter two the shell is gone.
   */
  run(script: string, timeoutMs: number): Promise<string> {
    return this.#process.run(() => scriptTask(script), timeoutMs);
  }

  /** Ends the shell and resolves when it is gone. What still runs in it fails. */
  close(): Promise<void> {
    return this.#process.close();
  }
}

const scriptTask = (script: string): Task => {
  // Stands on a line of its own on both outputs when the script has ended.
  const mark = `end-${randomBytes(9).toString('hex')}`;
  return {
    // A command that reads its standard input must not swallow the script after this one.
    input: `(\nset -e\n${script}\n) </dev/null
code=$?; printf '\\n${mark} %d\\n' $code; printf '\\n${mark} %d\\n' $code >&2\n`,
    outcome: ({ stdout, stderr }) => {
      // Long outputs come in many pieces: only the end of what is here can tell.
      if (![stdout, stderr].every((text) => text.slice(-2 * mark.length).includes(mark))) return undefined;
      const [output = '', outEnd] = stdout.split(`\n${mark} `);
      const [words = '', errEnd] = stderr.split(`\n${mark} `);
      if (!outEnd?.endsWith('\n') || !errEnd?.endsWith('\n')) return undefined;
      const code = Number(outEnd);
      return code === 0 ? { output } : { error: new ExecError(script.slice(0, 300), code, words) };
    },
  };
};
