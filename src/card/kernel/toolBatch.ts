/**
 * A tool of iproute2 (`ip`, `bridge`, `tc`) that stays and takes its commands from a pipe: a tenth of a millisecond each, where a
 * process of its own costs three. It says of each line that failed that it did, by number; a line that it cannot understand is how
 * it is asked whether it has come so far.
 */
import { ExecError } from '#base/exec.ts';
import { KeptProcess, type Task } from '#base/keptProcess.ts';

const endMark = 'end-of-batch';

export class ToolBatch {
  readonly #process: KeptProcess;
  readonly #tool: string;
  /** Lines that the tool was given so far: it counts them too. */
  #given = 0;

  /** Starts `tool flags…` by way of `starter`, a command that runs the command behind it. */
  constructor(tool: string, flags: readonly string[], starter: readonly string[] = []) {
    this.#tool = tool;
    // Both outputs through one pipe, so that they stay in order; a line that fails does not end the tool.
    const script = `exec ${[tool, ...flags].join(' ')} -force -batch - 2>&1`;
    const [command = 'sh', ...args] = [...starter, 'sh', '-c', script];
    this.#process = new KeptProcess(command, args);
  }

  /** Whether it works, or work waits for it. */
  get busy(): boolean {
    return this.#process.busy;
  }

  /** Whether it takes no more commands. */
  get ended(): boolean {
    return this.#process.ended;
  }

  /**
   * Runs all lines, after those before them, and returns what they printed. Errors: {@link ExecError} when a line failed (the others
   * were run all the same), or when the tool ended over one, took too long, or printed too much: then it is gone.
   */
  run(lines: readonly string[], timeoutMs: number): Promise<string> {
    return this.#process.run(() => this.#task(lines), timeoutMs);
  }

  /** Ends the tool and resolves when it is gone. */
  close(): Promise<void> {
    return this.#process.close();
  }

  #task(lines: readonly string[]): Task {
    const before = this.#given;
    this.#given += lines.length + 1;
    const end = `Command failed -:${this.#given}\n`;
    return {
      input: `${[...lines, endMark].join('\n')}\n`,
      outcome: ({ stdout }) => {
        if (!stdout.endsWith(end)) return undefined;
        const [output = ''] = stdout.split(`Object "${endMark}"`);
        const failed = /^Command failed -:(\d+)$/m.exec(output)?.[1];
        if (failed === undefined) return { output };
        return { error: new ExecError(`${this.#tool} ${lines[Number(failed) - before - 1]}`, 1, output) };
      },
    };
  }
}
