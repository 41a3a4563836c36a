/**
 * The code of a run's processes, compiled once for all of them.
 *
 * A process that finds its code compiled needs no TypeScript of its own: the stripper of types, which Node loads with the first file that
 * is not compiled, keeps some 12 to 24 MiB for as long as the process lives, and takes most of its start. Node's compile cache holds the
 * JavaScript and V8's code of each file, and judges both by the file's contents: code that has changed is compiled by the process itself.
 */
import { chmodSync, existsSync, mkdirSync, readdirSync, readFileSync, rmSync, symlinkSync } from 'node:fs';
import { join, relative, sep } from 'node:path';
import { codeDigestOf } from '#base/codeDigest.ts';
import { exec } from '#base/exec.ts';
import { collectFlag } from '#base/loadingMemory.ts';
import { writeAtomicallySync } from '#base/writeAtomically.ts';
import { environment } from './confine.ts';
import { codeDirectory } from './directory.ts';
import type { ProcessSpec } from './processSpec.ts';

/** Of every process of a run: V8 refuses code that was compiled under other flags, with few exceptions (those of the heap's size). */
export const nodeFlags: readonly string[] = ['--disable-warning=ExperimentalWarning', collectFlag];

const compileTimeoutMs = 120_000;
const root = 0;

/** Node keeps one directory for each user: `v24.21.0-x64-964aae3f-0`. */
const ofRoot = /^v.+-0$/;

/** The rooms of `src/` whose processes are in the list, and the supervisor's. */
const roomsOfList = (specs: readonly ProcessSpec[]): string[] => {
  const entries = specs.flatMap((spec) => (spec.kind === 'node' ? [spec.entry] : []));
  const rooms = entries.flatMap((entry) => relative(join(codeDirectory, 'src'), entry).split(sep)[0] ?? []);
  return [...new Set([...rooms, 'node'])].sort();
};

const stampOf = (rooms: readonly string[]): string =>
  JSON.stringify({
    node: process.version,
    flags: nodeFlags,
    tree: codeDirectory,
    code: rooms.map((room) => codeDigestOf(room, codeDirectory)),
  });

const stampIn = (directory: string): string | undefined => {
  const path = join(directory, 'stamp');
  return existsSync(path) ? readFileSync(path, 'utf8') : undefined;
};

/**
 * Compiles into `directory` what the processes of the list run, unless it is there. Only root writes there, whose code it is; the users of
 * the processes read. @throws ExecError when the code cannot be compiled: processes run all the same, with more memory
 */
export async function compileCode(directory: string, specs: readonly ProcessSpec[]): Promise<void> {
  const rooms = roomsOfList(specs);
  const stamp = stampOf(rooms);
  const users = new Set(specs.flatMap(({ user }) => (user === undefined ? [] : [user.uid])));
  if (stampIn(directory) !== stamp) {
    // What is left of former code and of other versions of Node would stay for ever.
    rmSync(directory, { recursive: true, force: true });
    mkdirSync(directory, { recursive: true, mode: 0o755 });
    const main = join(import.meta.dirname, 'compileMain.ts');
    await exec(process.execPath, [...nodeFlags, main, ...rooms], {
      cwd: codeDirectory,
      env: { ...environment(process.env), NODE_COMPILE_CACHE: directory },
      timeoutMs: compileTimeoutMs,
    });
  }
  share(directory, [...users]);
  writeAtomicallySync(join(directory, 'stamp'), stamp);
}

/** Node makes the files for their owner alone, and looks for each user's in a directory of its own. */
function share(directory: string, users: readonly number[]): void {
  for (const name of readdirSync(directory).filter((each) => ofRoot.test(each))) {
    const compiled = join(directory, name);
    chmodSync(compiled, 0o755);
    for (const file of readdirSync(compiled)) chmodSync(join(compiled, file), 0o644);
    for (const uid of users.filter((each) => each !== root)) {
      const theirs = join(directory, name.replace(/0$/, String(uid)));
      if (!existsSync(theirs)) symlinkSync(name, theirs);
    }
  }
}
