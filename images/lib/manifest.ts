import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { pipeline } from 'node:stream/promises';

/** One file of an image; `path` is relative to the image's directory. */
export interface ImageFile {
  path: string;
  sha256: string;
  bytes: number;
}

/** An image's root disk. `virtualBytes` is its size as the guest sees it. */
export interface DiskFile extends ImageFile {
  virtualBytes: number;
  format: 'qcow2';
}

/** What `manifest.json` of an image's directory says. */
export interface ImageManifest {
  name: string;
  description: string;
  architecture: 'x86_64';
  bootMode: 'direct-kernel' | 'bios';
  files: { disk: DiskFile; kernel?: ImageFile; initrd?: ImageFile };
  /** The kernel's command line, where the boot is direct. */
  cmdline?: string;
  minMemoryMib: number;
  /** SHA-256 over the recipe's sources and its packages' versions: equal means that a build would change nothing. */
  recipe: string;
  /** SHA-256 over the canonical JSON of all other members. */
  digest: string;
}

/** JSON with the members of every object in order: the same value always gives the same text. */
export function canonicalJson(value: unknown): string {
  if (Array.isArray(value)) return `[${value.map(canonicalJson).join(',')}]`;
  if (value === null || typeof value !== 'object') return JSON.stringify(value);
  const members = Object.entries(value).filter(([, member]) => member !== undefined);
  members.sort(([a], [b]) => (a < b ? -1 : 1));
  return `{${members.map(([name, member]) => `${JSON.stringify(name)}:${canonicalJson(member)}`).join(',')}}`;
}

/** The digest that a manifest must carry. */
export function manifestDigest(manifest: Omit<ImageManifest, 'digest'>): string {
  const { digest: _, ...rest } = { digest: '', ...manifest };
  return createHash('sha256').update(canonicalJson(rest)).digest('hex');
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
): Promise<ImageManifest | undefined> {
  const text = await readFile(join(imageDir, 'manifest.json'), 'utf8').catch(() => undefined);
  const manifest = text === undefined ? undefined : parseManifest(text);
  if (manifest === undefined || manifestDigest(manifest) !== manifest.digest) return undefined;
  for (const file of Object.values(manifest.files)) {
    const found = await stat(join(imageDir, file.path)).catch(() => undefined);
    if (found?.size !== file.bytes) return undefined;
    if (files === 'hash' && (await describeFile(imageDir, file.path)).sha256 !== file.sha256)
      return undefined;
  }
  return manifest;
}

function parseManifest(text: string): ImageManifest | undefined {
  try {
    const value: Partial<ImageManifest> | null = JSON.parse(text);
    if (typeof value?.digest !== 'string' || typeof value.files?.disk?.path !== 'string') return undefined;
    // The digest covers every other member: one that checks was written whole by `writeManifest`.
    return value as ImageManifest;
  } catch {
    return undefined;
  }
}
