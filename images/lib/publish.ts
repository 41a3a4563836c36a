import { createHash } from 'node:crypto';
import { existsSync } from 'node:fs';
import { mkdir, mkdtemp, readdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { canonicalJson } from '#contracts/canonicalJson.ts';
import { manifestDigest } from '#contracts/image-manifest.ts';
import { type BuiltManifest, readManifest } from './manifest.ts';

/** What every builder is given. */
export interface BuildOptions {
  /** The image is published as `<outDir>/<name>/`. */
  outDir: string;
  /** Downloads are kept here. */
  cacheDir: string;
  log?: (line: string) => void;
  signal?: AbortSignal;
}

/** A published image. */
export interface BuiltImage {
  dir: string;
  manifest: BuiltManifest;
  /** False when the image stood there already and nothing was done. */
  built: boolean;
}

/** SHA-256 over the bytes of all files below `sources` (names and modes of content alike) and over `facts`. */
export async function recipeKey(sources: readonly string[], facts: unknown): Promise<string> {
  const hash = createHash('sha256').update(canonicalJson(facts));
  for (const source of sources) {
    const entries = await readdir(source, { recursive: true, withFileTypes: true });
    const files = entries
      .filter((entry) => entry.isFile())
      .map((entry) => join(entry.parentPath, entry.name));
    for (const file of files.sort()) {
      const data = await readFile(file);
      hash.update(`${file.slice(source.length)}\0${data.length}\0`).update(data);
    }
  }
  return hash.digest('hex');
}

/** What a recipe says of its image; name, recipe and digest are the publisher's. */
type Described = Pick<
  BuiltManifest,
  'description' | 'architecture' | 'bootMode' | 'files' | 'cmdline' | 'minMemoryMib'
>;

/**
 * Publishes an image unless `recipe` stands published already. `fill` writes the files into a scratch directory
 * beside the destination; the directory then takes its name in one rename, so a reader sees the old image, the new
 * one, or for an instant none, never half of one. Whatever happens, the scratch directory is gone afterwards.
 */
export async function publish(
  name: string,
  recipe: string,
  options: BuildOptions,
  fill: (dir: string, scratch: string) => Promise<Described>,
): Promise<BuiltImage> {
  const destination = join(options.outDir, name);
  const present = await readManifest(destination);
  if (present?.recipe === recipe) return { dir: destination, manifest: present, built: false };

  await mkdir(options.outDir, { recursive: true });
  await removeAbandoned(options.outDir);
  const scratch = await mkdtemp(join(options.outDir, `.${name}.${process.pid}.`));
  try {
    const fresh = join(scratch, 'image');
    await mkdir(fresh);
    const described = { name, recipe, ...(await fill(fresh, scratch)) };
    const manifest: BuiltManifest = { ...described, digest: manifestDigest(described) };
    await writeFile(join(fresh, 'manifest.json'), `${JSON.stringify(manifest, null, 2)}\n`);
    await replaceDirectory(fresh, destination, join(scratch, 'former'));
    return { dir: destination, manifest, built: true };
  } finally {
    await rm(scratch, { recursive: true, force: true });
  }
}

/** Scratch directories of builders that were killed: named after processes that live no more. */
async function removeAbandoned(outDir: string): Promise<void> {
  for (const entry of await readdir(outDir)) {
    const pid = /^\..+\.(\d+)\.[^.]+$/.exec(entry)?.[1];
    if (pid !== undefined && !existsSync(`/proc/${pid}`))
      await rm(join(outDir, entry), { recursive: true, force: true });
  }
}

/** A running VM keeps the former disk open by its descriptor: the file lives until that VM ends. */
async function replaceDirectory(fresh: string, destination: string, former: string): Promise<void> {
  await rename(destination, former).catch((error: NodeJS.ErrnoException) => {
    if (error.code !== 'ENOENT') throw error;
  });
  await rename(fresh, destination);
}
