import { createHash } from 'node:crypto';
import { mkdir, mkdtemp, readFile, rename, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { run } from './run.ts';

/** One Debian package at the version that the machine's apt would fetch now. */
export interface Package {
  name: string;
  /** The name under which apt stores it. */
  file: string;
  bytes: number;
  sha256: string;
}

const printedUri = /^'[^']+' (\S+) (\d+) SHA256:([0-9a-f]{64})$/;
/** apt drops to another user for downloads, who may not write into our directories. */
const asOurselves = ['-o', 'APT::Sandbox::User=root'];

/**
 * Asks the machine's own apt which versions of `names` it would fetch. Refreshes its lists once when it
 * knows none of them (a fresh machine). Throws when a package is unknown even then.
 */
export async function resolvePackages(names: readonly string[], signal?: AbortSignal): Promise<Package[]> {
  try {
    return await printUris(names, signal);
  } catch {
    await run('apt-get', ['update', '-q'], { signal });
    return printUris(names, signal);
  }
}

async function printUris(names: readonly string[], signal?: AbortSignal): Promise<Package[]> {
  const printed = await run('apt-get', ['download', '--print-uris', ...names], { signal });
  const found = printed.split('\n').flatMap((line) => {
    const match = printedUri.exec(line);
    if (match === null) return [];
    const [, file = '', bytes = '', sha256 = ''] = match;
    return [{ name: file.split('_')[0] ?? file, file, bytes: Number(bytes), sha256 }];
  });
  const missing = names.filter((name) => !found.some((one) => one.name === name));
  if (missing.length > 0) throw new Error(`apt knows no download for ${missing.join(', ')}`);
  return found.sort((a, b) => (a.name < b.name ? -1 : 1));
}

/** The concrete kernel package behind a metapackage such as `linux-image-cloud-amd64`. */
export async function kernelPackageName(metapackage: string, signal?: AbortSignal): Promise<string> {
  const depends = await run('apt-cache', ['depends', '--no-recommends', metapackage], { signal }).catch(
    () => '',
  );
  const name = /Depends: (linux-image-\d\S*)/.exec(depends)?.[1];
  if (name !== undefined) return name;
  await run('apt-get', ['update', '-q'], { signal });
  const again = await run('apt-cache', ['depends', '--no-recommends', metapackage], { signal });
  const found = /Depends: (linux-image-\d\S*)/.exec(again)?.[1];
  if (found === undefined) throw new Error(`apt knows no kernel behind ${metapackage}`);
  return found;
}

/**
 * Makes sure that `cacheDir` holds each package's file, whole and with its digest, and returns their paths.
 * Files are kept under their digest: two builders at once at worst fetch the same thing twice.
 */
export async function fetchPackages(
  packages: readonly Package[],
  cacheDir: string,
  signal?: AbortSignal,
): Promise<string[]> {
  await mkdir(cacheDir, { recursive: true });
  const wanted: Package[] = [];
  for (const one of packages) if (!(await holds(cachedPath(cacheDir, one), one))) wanted.push(one);
  if (wanted.length > 0) await download(wanted, cacheDir, signal);
  return packages.map((one) => cachedPath(cacheDir, one));
}

async function download(wanted: readonly Package[], cacheDir: string, signal?: AbortSignal): Promise<void> {
  const scratch = await mkdtemp(join(cacheDir, '.fetch-'));
  try {
    await run('apt-get', ['download', '-q', ...asOurselves, ...wanted.map((one) => one.name)], {
      cwd: scratch,
      signal,
    });
    for (const one of wanted) {
      const fetched = join(scratch, one.file);
      if (!(await holds(fetched, one))) throw new Error(`${one.file}: not the bytes that apt announced`);
      await rename(fetched, cachedPath(cacheDir, one));
    }
  } finally {
    await rm(scratch, { recursive: true, force: true });
  }
}

/** Unpacks a package's files below `into`; none of its scripts run. */
export async function unpackPackage(debPath: string, into: string, signal?: AbortSignal): Promise<void> {
  await mkdir(into, { recursive: true });
  await run('dpkg-deb', ['--extract', debPath, into], { signal });
}

function cachedPath(cacheDir: string, one: Package): string {
  return join(cacheDir, `${one.name}-${one.sha256.slice(0, 16)}.deb`);
}

async function holds(path: string, one: Package): Promise<boolean> {
  const found = await stat(path).catch(() => undefined);
  if (found?.size !== one.bytes) return false;
  return (
    createHash('sha256')
      .update(await readFile(path))
      .digest('hex') === one.sha256
  );
}
