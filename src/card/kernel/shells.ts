/**
 * What stays inside each VPC's namespace that is being changed, for the next change: a shell, and the tools of iproute2. Those of
 * namespaces that were not used lately are ended, so that a card with many VPCs does not keep processes for each.
 */
import { readFile, stat } from 'node:fs/promises';
import { KeptShell } from '#base/keptShell.ts';
import { keptNamespacesMax, scriptTimeoutMs, shellIdleMsMax } from '../limits.ts';
import { namespacePath } from './paths.ts';
import { ToolBatch } from './toolBatch.ts';

/** `tc` answers queries in JSON, with statistics. */
const flagsOf = { ip: [], bridge: [], tc: ['-s', '-j'] } as const;
export type Tool = keyof typeof flagsOf;
const tools: readonly Tool[] = ['ip', 'bridge', 'tc'];
/** So many batches of a namespace are given to its shell before tools stay. */
const batchesByShell = 12;

/**
 * The processes that stay in one namespace. Tools stay where they are used often, or where it is known that they must be quick: to start one
 * costs as much as a handful of commands by the shell, and it is to be started again after each tap that comes in.
 */
class Inside {
  readonly shell: KeptShell;
  readonly #starter: readonly string[];
  readonly #tools = new Map<Tool, ToolBatch>();
  #arrived: Promise<unknown> | undefined;
  #batches = 0;
  #keepsTools = false;

  constructor(name: string) {
    const [command, ...args] = ['nsenter', `--net=${namespacePath(name)}`] as const;
    this.#starter = [command, ...args];
    this.shell = new KeptShell(command, [...args, 'sh']);
  }

  /** Until the shell answers for the first time it may not be in the namespace yet. */
  arrived(): Promise<unknown> {
    this.#arrived ??= this.shell.run(':', scriptTimeoutMs);
    return this.#arrived;
  }

  /** Started here, so that nobody waits for their start. */
  keepTools(): void {
    this.#keepsTools = true;
    for (const tool of tools) this.#tool(tool);
  }

  async batch(tool: Tool, lines: readonly string[]): Promise<string> {
    this.#batches += 1;
    const stays = this.#keepsTools || this.#batches > batchesByShell || this.#tools.has(tool);
    if (stays) return this.#tool(tool).run(lines, scriptTimeoutMs);
    const command = [tool, ...flagsOf[tool], '-force', '-batch', '-'].join(' ');
    return this.shell.run(
      `${command} <<'END-OF-BATCH'\n${lines.join('\n')}\nEND-OF-BATCH\n`,
      scriptTimeoutMs,
    );
  }

  #tool(tool: Tool): ToolBatch {
    const known = this.#tools.get(tool);
    if (known !== undefined && !known.ended) return known;
    const started = new ToolBatch(tool, flagsOf[tool], this.#starter);
    this.#tools.set(tool, started);
    return started;
  }

  /** Ends the tools once they have done what they were given. */
  renewTools(): void {
    for (const tool of this.#tools.values())
      void tool
        .run([], scriptTimeoutMs)
        .catch(() => undefined)
        .then(() => tool.close());
    this.#tools.clear();
    this.#batches = 0;
  }

  get busy(): boolean {
    return this.#all.some((each) => each.busy);
  }

  async close(): Promise<void> {
    await Promise.all(this.#all.map((each) => each.close()));
  }

  get #all(): readonly (KeptShell | ToolBatch)[] {
    return [this.shell, ...this.#tools.values()];
  }
}

interface Kept {
  readonly inside: Inside;
  /** Of the namespace that it is in: another one may have got the name meanwhile. */
  readonly inode: number | undefined;
  readonly idle: NodeJS.Timeout;
}

class Shells {
  /** Least recently used first. */
  readonly #kept = new Map<string, Kept>();

  /** Runs a script. Errors: `ExecError`, also when there is no such namespace. */
  async run(name: string, script: string): Promise<string> {
    return (await this.#inside(name)).shell.run(script, scriptTimeoutMs);
  }

  /** Runs commands of a tool, all of them; `ExecError` when one failed. */
  async batch(name: string, tool: Tool, lines: readonly string[]): Promise<string> {
    if (lines.length === 0) return '';
    return (await this.#inside(name)).batch(tool, lines);
  }

  /** From here on a batch in this namespace waits for no start of a tool: packets of a guest that moves wait for it. */
  async keepTools(name: string): Promise<void> {
    (await this.#inside(name)).keepTools();
  }

  /**
   * To be called when a device has come in: the tools remember the number of each device by its name, and a name may have been another
   * device's before.
   */
  devicesChanged(name: string): void {
    this.#kept.get(name)?.inside.renewTools();
  }

  /** A file of the namespace's own `/proc/net`, without a command. Errors as {@link run}'s, and those of reading. */
  async readNet(name: string, file: string): Promise<string> {
    const inside = await this.#inside(name);
    await inside.arrived();
    return readFile(`/proc/${inside.shell.pid}/net/${file}`, 'utf8');
  }

  /** Ends what is in a namespace, which would keep it alive beyond its name. */
  async close(name: string): Promise<void> {
    const kept = this.#kept.get(name);
    if (kept === undefined) return;
    clearTimeout(kept.idle);
    this.#kept.delete(name);
    await kept.inside.close();
  }

  async #inside(name: string): Promise<Inside> {
    const inode = await stat(namespacePath(name)).then(
      ({ ino }) => ino,
      () => undefined,
    );
    return this.#take(name, inode);
  }

  /** Synchronous, so that two scripts never start two shells of one namespace. */
  #take(name: string, inode: number | undefined): Inside {
    const known = this.#kept.get(name);
    if (known !== undefined && !known.inside.shell.ended && known.inode === inode) {
      this.#kept.delete(name);
      this.#kept.set(name, known);
      known.idle.refresh();
      return known.inside;
    }
    if (known !== undefined) void this.close(name);
    if (this.#kept.size >= keptNamespacesMax) this.#retireOldest();
    // Without a namespace what is started ends at once and says why.
    const inside = new Inside(name);
    const idle = setTimeout(() => this.#retire(name), shellIdleMsMax).unref();
    this.#kept.set(name, { inside, inode, idle });
    return inside;
  }

  #retire(name: string): void {
    const kept = this.#kept.get(name);
    if (kept?.inside.busy) kept.idle.refresh();
    else void this.close(name);
  }

  /** More than `keptNamespacesMax` stay only while more than that many work. */
  #retireOldest(): void {
    const [oldest] = [...this.#kept].find(([, { inside }]) => !inside.busy) ?? [];
    if (oldest !== undefined) void this.close(oldest);
  }
}

/** All of this process. */
export const shells = new Shells();
