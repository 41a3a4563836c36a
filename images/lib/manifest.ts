import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { type ImageFile, type ImageManifest, parseManifest } from '#contracts/image-manifest.ts';

/** What `manifest.json` of a built image's directory says: any image's manifest, and what it was built from. */
export interface BuiltManifest extends ImageManifest {
  /** SHA-256 over the recipe's sources and its packages' versions: equal means that a build would change nothing. */
  recipe: string;
}

/** Describes a file that stands in an image's directory. */
export async function describeFile(imageDir: string, path: string): Promise<ImageFile> {
  const hash = createHash('sha256');
  await pipeline(createReadStream(join(imageDir, path)), hash);
  return { path, sha256: hash.digest('hex'), bytes: (await stat(join(imageDir, path))).size };
}

/**
 * Reads an image's manifest. Undefined when there is none, when its own digest is wrong, or when a file is missing
 * or of another size (a torn build). `files: 'hash'` also reads every file and compares its digest.
 */
export async function readManifest(
  imageDir: string,
  files: 'size' | 'hash' = 'size',
): Promise<BuiltManifest | undefined> {
  const text = await readFile(join(imageDir, 'manifest.json'), 'utf8').catch(() => undefined);
  const manifest = text === undefined ? undefined : builtIn(text);
  if (manifest === undefined) return undefined;
  for (const file of Object.values(manifest.files)) {
    if (file === undefined) continue;
    const found = await stat(join(imageDir, file.path)).catch(() => undefined);
    if (found?.size !== file.bytes) return undefined;
    if (files === 'hash' && (await describeFile(imageDir, file.path)).sha256 !== file.sha256)
      return undefined;
  }
  return manifest;
}

function builtIn(text: string): BuiltManifest | undefined {
  try {
    const manifest = parseManifest(text);
    return typeof manifest.recipe === 'string' ? { ...manifest, recipe: manifest.recipe } : undefined;
  } catch {
    return undefined;
  }
}
