/**
 * PostgreSQL's engine (PGlite), which can be put back to how it was: memory, files and open descriptors. That costs some milliseconds, and
 * leaves nothing of what was between: not in the order of rows, not in plans, not in caches. So a run does not depend on those before it.
 */
import { setFlagsFromString } from 'node:v8';
import { PGlite } from '@electric-sql/pglite';

/** Of Emscripten's file system in memory, as far as it is read here. */
interface FileNode {
  id: number;
  name: string;
  parent: FileNode;
  name_next: FileNode | undefined;
  mode: number;
  contents: Uint8Array | Record<string, FileNode> | null;
  usedBytes: number;
  node_ops: { setattr(node: FileNode, change: unknown): unknown };
  stream_ops: { write(stream: { node: FileNode }, ...more: unknown[]): unknown };
}

interface FileStream {
  fd: number | null;
  position: number;
  flags: number;
}

interface FileSystem {
  root: FileNode;
  nameTable: (FileNode | undefined)[];
  streams: (FileStream | null | undefined)[];
  nextInode: number;
  isDir(mode: number): boolean;
  isFile(mode: number): boolean;
}

interface EngineModule {
  FS: FileSystem;
  wasmMemory: { readonly buffer: ArrayBuffer };
}

interface SavedNode {
  readonly node: FileNode;
  readonly name: string;
  readonly parent: FileNode;
  readonly next: FileNode | undefined;
  readonly version: number;
  /** Of a file. */
  readonly bytes?: Uint8Array;
  /** Of a directory. */
  readonly entries?: Readonly<Record<string, FileNode>>;
}

/** What is not zero of a memory. */
export interface MemoryImage {
  readonly parts: readonly { readonly from: number; readonly bytes: Uint8Array }[];
}

export interface EngineImage {
  readonly memory: MemoryImage;
  readonly nameTable: readonly (FileNode | undefined)[];
  readonly nextInode: number;
  readonly streams: readonly (
    | { readonly stream: FileStream; readonly position: number; readonly flags: number }
    | undefined
  )[];
  readonly nodes: readonly SavedNode[];
}

/** Nobody has to find its files after a crash: what is kept is kept in images. A small cache is soon put back. */
const settings = {
  shared_buffers: '16MB',
  wal_level: 'minimal',
  max_wal_senders: '0',
  full_page_writes: 'off',
  synchronous_commit: 'off',
  jit: 'off',
  autovacuum: 'off',
};

/**
 * A run is over before most of the engine has been executed often enough to be compiled well: a statement then takes ten times as long as
 * it could. This much sooner costs less than it saves.
 */
const tieringBudgetBytes = 1_000_000;
setFlagsFromString(`--wasm-tiering-budget=${tieringBudgetBytes}`);

const pageBytes = 64 * 1024;
const zeros = Buffer.alloc(pageBytes);

/** Half of it and more was never written to. */
const imageOf = (memory: Uint8Array): MemoryImage => {
  const all = Buffer.from(memory.buffer, memory.byteOffset, memory.byteLength);
  const isZero = (at: number): boolean =>
    all.readDoubleLE(at) === 0 && zeros.compare(all, at, at + pageBytes) === 0;
  const parts: { readonly from: number; readonly bytes: Uint8Array }[] = [];
  for (let at = 0; at < all.length; at += pageBytes) {
    if (isZero(at)) continue;
    const from = at;
    while (at < all.length && !isZero(at)) at += pageBytes;
    parts.push({ from, bytes: memory.slice(from, at) });
  }
  return { parts };
};

const putBack = (memory: Uint8Array, { parts }: MemoryImage): void => {
  let to = 0;
  for (const { from, bytes } of parts) {
    memory.fill(0, to, from);
    memory.set(bytes, from);
    to = from + bytes.length;
  }
  memory.fill(0, to);
};

export class Engine {
  readonly #pglite: PGlite;
  readonly #module: EngineModule;
  /** Of files that were written: no two states of a file have one number. */
  readonly #versions = new Map<FileNode, number>();
  #versionsGiven = 0;
  /** Of the engine itself, after which nothing that it says counts. */
  failure: unknown;

  private constructor(pglite: PGlite) {
    this.#pglite = pglite;
    this.#module = pglite.Module as unknown as EngineModule;
    this.#watchWrites();
  }

  /** `from`: the files of another one. */
  static async create(from?: Blob): Promise<Engine> {
    const startParams = [
      ...PGlite.defaultStartParams,
      ...Object.entries(settings).flatMap(([name, value]) => ['-c', `${name}=${value}`]),
    ];
    return new Engine(
      await PGlite.create({ startParams, ...(from === undefined ? {} : { loadDataDir: from }) }),
    );
  }

  files(): Promise<Blob> {
    return this.#pglite.dumpDataDir('none');
  }

  /** What the bytes of PostgreSQL's protocol are answered with. */
  ask(bytes: Uint8Array): Uint8Array {
    const parts: Uint8Array[] = [];
    // It is through when it returns: there is nothing that it waits for. Only this way of asking does not parse what it answers.
    this.#pglite
      .execProtocolRawStream(bytes, { syncToFs: false, onRawData: (part) => parts.push(part.slice()) })
      .catch((error: unknown) => {
        this.failure = error;
      });
    return parts.length === 1 && parts[0] !== undefined ? parts[0] : Buffer.concat(parts);
  }

  close(): Promise<void> {
    return this.#pglite.close();
  }

  image(): EngineImage {
    const { FS, wasmMemory } = this.#module;
    return {
      memory: imageOf(new Uint8Array(wasmMemory.buffer)),
      nameTable: FS.nameTable.slice(),
      nextInode: FS.nextInode,
      streams: FS.streams.map((stream) =>
        stream ? { stream, position: stream.position, flags: stream.flags } : undefined,
      ),
      nodes: this.#nodes().map((node) => this.#saved(node)),
    };
  }

  restore({ memory, nameTable, nextInode, streams, nodes }: EngineImage): void {
    const { FS, wasmMemory } = this.#module;
    putBack(new Uint8Array(wasmMemory.buffer), memory);
    FS.nameTable = nameTable.slice();
    FS.nextInode = nextInode;
    FS.streams = streams.map((saved, fd) =>
      saved === undefined
        ? undefined
        : Object.assign(saved.stream, { fd, position: saved.position, flags: saved.flags }),
    );
    for (const { node, name, parent, next, version, bytes, entries } of nodes) {
      Object.assign(node, { name, parent, name_next: next });
      if (entries !== undefined) node.contents = { ...entries };
      else if (bytes !== undefined && this.#versionOf(node) !== version) {
        node.contents = bytes.slice();
        node.usedBytes = bytes.length;
        this.#versions.set(node, version);
      }
    }
  }

  #nodes(): FileNode[] {
    const { FS } = this.#module;
    const found: FileNode[] = [];
    const visit = (node: FileNode): void => {
      found.push(node);
      if (FS.isDir(node.mode)) for (const child of Object.values(node.contents ?? {})) visit(child);
    };
    visit(FS.root);
    return found;
  }

  /** Bytes of a file that has not changed since another image are that one's. */
  readonly #kept = new WeakMap<FileNode, { readonly version: number; readonly bytes: Uint8Array }>();

  #saved(node: FileNode): SavedNode {
    const { FS } = this.#module;
    const { name, parent, name_next: next, contents } = node;
    const version = this.#versionOf(node);
    const place = { node, name, parent, next, version };
    if (FS.isDir(node.mode)) return { ...place, entries: { ...(contents as Record<string, FileNode>) } };
    if (!FS.isFile(node.mode) || !(contents instanceof Uint8Array)) return place;
    const kept = this.#kept.get(node);
    const bytes = kept?.version === version ? kept.bytes : contents.slice(0, node.usedBytes);
    this.#kept.set(node, { version, bytes });
    return { ...place, bytes };
  }

  #versionOf(node: FileNode): number {
    return this.#versions.get(node) ?? 0;
  }

  /** All files of an engine share these functions. */
  #watchWrites(): void {
    const { FS } = this.#module;
    const file = this.#nodes().find(
      ({ mode, contents }) => FS.isFile(mode) && contents instanceof Uint8Array,
    );
    if (file === undefined) throw new Error('the engine has no files');
    const note = (node: FileNode): void => {
      this.#versions.set(node, ++this.#versionsGiven);
    };
    const { stream_ops, node_ops } = file;
    const [write, setattr] = [stream_ops.write, node_ops.setattr];
    stream_ops.write = (stream, ...more) => {
      note(stream.node);
      return write(stream, ...more);
    };
    node_ops.setattr = (node, change) => {
      note(node);
      return setattr(node, change);
    };
  }
}
