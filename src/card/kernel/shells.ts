/**
 * A shell inside each VPC's namespace that is being changed, kept for the next change. Those that were not used lately are ended, so
 * that a card with many VPCs does not keep a process for each.
 */
import { stat } from 'node:fs/promises';
import { KeptShell } from '#base/keptShell.ts';
import { keptShellsMax, scriptTimeoutMs, shellIdleMsMax } from '../limits.ts';
import { namespacePath } from './paths.ts';

interface Kept {
  readonly shell: KeptShell;
  /** Of the namespace that it is in: another one may have got the name meanwhile. */
  readonly inode: number;
  readonly idle: NodeJS.Timeout;
}

class Shells {
  /** Least recently used first. */
  readonly #kept = new Map<string, Kept>();

  /** Errors: `ExecError`, also when there is no such namespace. */
  async run(name: string, script: string): Promise<string> {
    const inode = await stat(namespacePath(name)).then(
      ({ ino }) => ino,
      () => undefined,
    );
    return this.#take(name, inode).run(script, scriptTimeoutMs);
  }

  /** Ends the shell of a namespace, which would keep it alive beyond its name. */
  async close(name: string): Promise<void> {
    const kept = this.#kept.get(name);
    if (kept === undefined) return;
    clearTimeout(kept.idle);
    this.#kept.delete(name);
    await kept.shell.close();
  }

  /** Synchronous, so that two scripts never start two shells of one namespace. */
  #take(name: string, inode: number | undefined): KeptShell {
    const known = this.#kept.get(name);
    if (known !== undefined && !known.shell.ended && known.inode === inode) {
      this.#kept.delete(name);
      this.#kept.set(name, known);
      known.idle.refresh();
      return known.shell;
    }
    if (known !== undefined) void this.close(name);
    const shell = new KeptShell('nsenter', [`--net=${namespacePath(name)}`, 'sh']);
    // Without a namespace the shell ends at once and says so; it is not kept.
    if (inode === undefined) return shell;
    if (this.#kept.size >= keptShellsMax) this.#retireOldest();
    const idle = setTimeout(() => this.#retire(name), shellIdleMsMax).unref();
    this.#kept.set(name, { shell, inode, idle });
    return shell;
  }

  #retire(name: string): void {
    const kept = this.#kept.get(name);
    if (kept?.shell.busy) kept.idle.refresh();
    else void this.close(name);
  }

  /** More than `keptShellsMax` stay only while more than that many work. */
  #retireOldest(): void {
    const [oldest] = [...this.#kept].find(([, { shell }]) => !shell.busy) ?? [];
    if (oldest !== undefined) void this.close(oldest);
  }
}

/** All of this process. */
export const shells = new Shells();
