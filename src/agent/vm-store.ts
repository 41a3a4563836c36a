/** The VM directories: `vms/<instance>/vm.json`, written whole or not at all. */
import { mkdir, readdir, readFile, rm } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { writeAtomically } from '#base/writeAtomically.ts';
import { isId } from '#contracts/ids.ts';
import { type Write, writeOnce } from './spare-room.ts';
import { type VmRecord, vmRecord } from './vm-record.ts';

/** Paths of one VM, as the host sees them. */
export interface VmPaths {
  readonly dir: string;
  readonly record: string;
  /** Belongs to the VM's uid; all that the VMM may write. Nothing in it is trusted. */
  readonly run: string;
  /** What the guest is told about itself, as it was prepared last. */
  readonly metadata: string;
  readonly jail: string;
  /** Root writes here, the VM's uid reads. */
  readonly tls: string;
  readonly disk: string;
  /** The VMM makes its sockets here at its start; the directory is root's alone before a guest runs. */
  readonly sockets: string;
  readonly monitor: string;
  /** Where a VMM of an earlier release has its monitor: among what it may write. */
  readonly formerMonitor: string;
  readonly consoleLog: string;
  /** What was trimmed from the console's log most recently. */
  readonly consoleBefore: string;
  readonly vmmLog: string;
}

export const vmPaths = (stateDir: string, instanceId: string): VmPaths => {
  const dir = join(stateDir, 'vms', instanceId);
  const run = join(dir, 'run');
  return {
    dir,
    run,
    record: join(dir, 'vm.json'),
    metadata: join(dir, 'metadata.json'),
    jail: join(dir, 'jail'),
    tls: join(dir, 'tls'),
    disk: join(run, 'root.qcow2'),
    sockets: join(dir, 'sockets'),
    monitor: join(dir, 'sockets', 'qmp.sock'),
    formerMonitor: join(run, 'qmp.sock'),
    consoleLog: join(run, 'console.log'),
    consoleBefore: join(dir, 'console.before'),
    vmmLog: join(dir, 'vmm.log'),
  };
};

export class VmStore {
  readonly #stateDir: string;
  readonly #write: Write;
  /** Takes a file or a directory that a tenant has written to out of the way (discards.ts). Absent: nothing. */
  readonly discard: (path: string) => Promise<void>;
  /** Last write per VM: writes of one VM follow each other, so that an older snapshot never lands last. */
  readonly #writes = new Map<string, Promise<void>>();

  /** `write`: how records are written, see spare-room.ts. `discard`: where what a tenant has written goes. */
  constructor(
    stateDir: string,
    write: Write = writeOnce,
    discard: (path: string) => Promise<void> = removed,
  ) {
    this.#stateDir = stateDir;
    this.#write = write;
    this.discard = discard;
  }

  paths(instanceId: string): VmPaths {
    return vmPaths(this.#stateDir, instanceId);
  }

  /** Everything that is on disk. A record that cannot be read is told apart: see recover.ts. */
  async load(): Promise<{ records: VmRecord[]; unreadable: string[] }> {
    await mkdir(join(this.#stateDir, 'vms'), { recursive: true, mode: 0o711 });
    const records: VmRecord[] = [];
    const unreadable: string[] = [];
    for (const name of await readdir(join(this.#stateDir, 'vms'))) {
      if (!isId('instance', name)) continue;
      const text = await readFile(this.paths(name).record, 'utf8').catch(() => '');
      const parsed = vmRecord.safeParse(parseJson(text));
      if (parsed.success && parsed.data.instanceId === name) records.push(parsed.data);
      else unreadable.push(name);
    }
    return { records, unreadable };
  }

  /** Saves what the record holds at the moment of the write. */
  async save(record: VmRecord): Promise<void> {
    const { record: path, dir } = this.paths(record.instanceId);
    const write = (this.#writes.get(dir) ?? Promise.resolve())
      .catch(() => undefined)
      .then(async () => {
        await this.#write(async () => {
          await mkdir(dirname(path), { recursive: true, mode: 0o700 });
          await writeAtomically(path, JSON.stringify(record));
        });
      });
    this.#writes.set(dir, write);
    try {
      await write;
    } finally {
      if (this.#writes.get(dir) === write) this.#writes.delete(dir);
    }
  }

  async remove(instanceId: string): Promise<void> {
    const { dir } = this.paths(instanceId);
    await this.#writes.get(dir)?.catch(() => undefined);
    await this.#write(() => this.discard(dir));
  }
}

const removed = (path: string): Promise<void> => rm(path, { recursive: true, force: true });

const parseJson = (text: string): unknown => {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
};
