import { createHash } from 'node:crypto';
import { mkdir, readdir, readFile, rename, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';

/** Everything that apt's answers about packages come from: its sources and settings, the lists that it fetched, what is installed. */
const inputs = [
  { path: '/etc/apt', recursive: true },
  { path: '/usr/share/keyrings', recursive: false },
  { path: '/var/lib/apt/lists', recursive: false },
  { path: '/var/lib/dpkg/status', recursive: false },
];

/** Changes whenever a file that apt reads was written, added or removed. Costs a look at some hundred files, not a run of apt. */
async function fingerprint(): Promise<string> {
  const hash = createHash('sha256').update(process.env.APT_CONFIG ?? '');
  for (const { path, recursive } of inputs)
    for (const file of await filesAt(path, recursive)) {
      const found = await stat(file, { bigint: true }).catch(() => undefined);
      if (found?.isFile()) hash.update(`${file}\0${found.size}\0${found.mtimeNs}\0${found.ino}\0`);
    }
  return hash.digest('hex');
}

async function filesAt(path: string, recursive: boolean): Promise<string[]> {
  const names = await readdir(path, { recursive }).catch(() => undefined);
  return names === undefined ? [path] : names.sort().map((name) => join(path, name));
}

/**
 * What `ask` answered last time for the same `question`, as long as nothing that apt reads has changed since; else asks.
 * `T` must survive JSON.
 */
export async function rememberApt<T>(
  cacheDir: string,
  question: readonly string[],
  ask: () => Promise<T>,
): Promise<T> {
  const directory = join(cacheDir, 'apt');
  const name = createHash('sha256').update(question.join('\0')).digest('hex').slice(0, 16);
  const path = join(directory, `${name}.json`);
  // Taken before the question: an answer that apt gave out of newer lists is then asked for once more, never kept too long.
  const now = await fingerprint();
  const known = await read(path);
  if (known?.fingerprint === now) return known.answer as T;
  const answer = await ask();
  await mkdir(directory, { recursive: true });
  const fresh = `${path}.${process.pid}`;
  await writeFile(fresh, JSON.stringify({ fingerprint: now, answer }));
  await rename(fresh, path);
  return answer;
}

async function read(path: string): Promise<{ fingerprint?: string; answer?: unknown } | undefined> {
  try {
    return JSON.parse(await readFile(path, 'utf8'));
  } catch {
    return undefined;
  }
}
