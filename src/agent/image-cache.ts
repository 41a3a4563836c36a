/**
 * Images by digest (S1.6): fetched once however many ask, checked, kept until the space is needed, never removed while
 * a VM on this host stands on them.
 */
import { createHash } from 'node:crypto';
import { chmod, mkdir, open, readdir, readFile, rename, rm, stat, utimes, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { PandoError } from '#contracts/errors.ts';
import { type ImageFile, type ImageManifest, parseManifest } from '#contracts/image-manifest.ts';
import { imageChunkBytes, imageChunksInFlight, manifestBytesMax } from './limits.ts';

/** Where images come from: `length` bytes of a file of the image from `offset`; shorter at the end. */
export type ReadChunk = (digest: string, file: string, offset: number, length: number) => Promise<Buffer>;

export interface CachedImage {
  readonly dir: string;
  readonly manifest: ImageManifest;
}

export interface ImageCacheOptions {
  readonly dir: string;
  readonly bytesMax: number;
  readonly read: ReadChunk;
  /** Marks our own unfinished fetches among those of others that share the directory. */
  readonly owner: string;
  /** Digests that VMs stand on; undefined: not all of them are known, so none may go. */
  inUse(): ReadonlySet<string> | undefined;
  /** Where an image goes that is not kept: it may be a tenant's own. Default: removed. */
  discard?(path: string): Promise<void>;
}

const isDigest = (text: string): boolean => /^[0-9a-f]{64}$/.test(text);
const scratchPrefix = '.fetch-';

export class ImageCache {
  readonly #options: ImageCacheOptions;
  readonly #fetching = new Map<string, Promise<void>>();
  /** On their way out of the directory. */
  readonly #leaving = new Map<string, Promise<void>>();

  constructor(options: ImageCacheOptions) {
    this.#options = options;
  }

  /** The image, if it is here. */
  async get(digest: string): Promise<CachedImage | undefined> {
    if (!isDigest(digest))
      throw new PandoError('InvalidAMIID.Malformed', 'An image digest is 64 hex digits.');
    const dir = join(this.#options.dir, digest);
    const text = await readFile(join(dir, 'manifest.json'), 'utf8').catch(() => undefined);
    return text === undefined ? undefined : { dir, manifest: parseManifest(text, digest) };
  }

  /** Makes the image present. True when it had to be fetched; concurrent callers share one fetch. */
  async ensure(digest: string): Promise<boolean> {
    // What leaves just now is not taken for present.
    await this.#leaving.get(digest)?.catch(() => undefined);
    const present = await this.get(digest);
    if (present !== undefined) {
      await utimes(present.dir, new Date(), new Date());
      return false;
    }
    const running =
      this.#fetching.get(digest) ?? this.#fetch(digest).finally(() => this.#fetching.delete(digest));
    this.#fetching.set(digest, running);
    await running;
    return true;
  }

  async #fetch(digest: string): Promise<void> {
    const { dir, read } = this.#options;
    // A jail mounts the image's directory: nobody else has to come by here.
    await mkdir(dir, { recursive: true, mode: 0o700 });
    const text = (await read(digest, 'manifest', 0, manifestBytesMax)).toString('utf8');
    const manifest = parseManifest(text, digest);
    const files = Object.entries(manifest.files).filter(
      (entry): entry is [string, ImageFile] => entry[1] !== undefined,
    );
    await this.#makeRoom(files.reduce((sum, [, file]) => sum + file.bytes, 0));
    const scratch = join(dir, `${scratchPrefix}${digest.slice(0, 16)}-${this.#options.owner}`);
    await rm(scratch, { recursive: true, force: true });
    await mkdir(scratch, { mode: 0o755 });
    try {
      for (const [key, file] of files) await this.#fetchFile(digest, key, file, join(scratch, file.path));
      await writeFile(join(scratch, 'manifest.json'), text, { mode: 0o644 });
      await rename(scratch, join(dir, digest)).catch((error: NodeJS.ErrnoException) => {
        // Another agent that shares this directory was first: the same digest is the same bytes.
        if (error.code !== 'ENOTEMPTY' && error.code !== 'EEXIST') throw error;
      });
    } finally {
      await rm(scratch, { recursive: true, force: true });
    }
  }

  /** A few chunks are under way at once; they are hashed in order. Chunks of zeros stay holes. */
  async #fetchFile(digest: string, key: string, file: ImageFile, path: string): Promise<void> {
    const hash = createHash('sha256');
    const out = await open(path, 'wx', 0o644);
    try {
      await out.truncate(file.bytes);
      const ahead: Promise<Buffer>[] = [];
      let asked = 0;
      for (let offset = 0; offset < file.bytes; ) {
        for (; asked < file.bytes && ahead.length < imageChunksInFlight; asked += imageChunkBytes) {
          const chunk = this.#options.read(digest, key, asked, Math.min(imageChunkBytes, file.bytes - asked));
          chunk.catch(() => undefined); // Reported when its turn comes.
          ahead.push(chunk);
        }
        const data = await ahead.shift();
        if (data === undefined || data.length !== Math.min(imageChunkBytes, file.bytes - offset))
          throw new PandoError('InvalidAMIID.Unavailable', `The image's ${key} ended early.`);
        hash.update(data);
        if (!isZero(data)) await out.write(data, 0, data.length, offset);
        offset += data.length;
      }
      if (hash.digest('hex') !== file.sha256)
        throw new PandoError('InvalidAMIID.Unavailable', `The image's ${key} does not have its digest.`);
      await out.sync();
    } finally {
      await out.close();
    }
  }

  /** Removes the images used longest ago, but none that a VM stands on, until `bytes` more fit. */
  async #makeRoom(bytes: number): Promise<void> {
    const { dir, bytesMax, inUse } = this.#options;
    const images = await Promise.all((await readdir(dir)).filter(isDigest).map((name) => sizeOf(dir, name)));
    let total = images.reduce((sum, image) => sum + image.bytes, 0);
    for (const image of images.sort((a, b) => a.usedAt - b.usedAt)) {
      if (total + bytes <= bytesMax) return;
      // Asked anew for each: a launch may have taken this one while another was removed.
      if (inUse()?.has(image.name) !== false || this.#fetching.has(image.name)) continue;
      await this.#evict(image.name);
      total -= image.bytes;
    }
    if (total + bytes > bytesMax)
      throw new PandoError(
        'InsufficientInstanceCapacity',
        "The host's image cache is full of images in use.",
      );
  }

  async #evict(name: string): Promise<void> {
    const { dir, discard = removed } = this.#options;
    const gone = discard(join(dir, name)).finally(() => this.#leaving.delete(name));
    this.#leaving.set(name, gone);
    await gone;
  }

  /** Removes what an interrupted fetch left behind. */
  async clean(): Promise<void> {
    await chmod(this.#options.dir, 0o700).catch(() => undefined); // There may be none yet.
    for (const name of await readdir(this.#options.dir).catch(() => []))
      if (name.startsWith(scratchPrefix) && name.endsWith(`-${this.#options.owner}`))
        await rm(join(this.#options.dir, name), { recursive: true, force: true });
  }
}

const removed = (path: string): Promise<void> => rm(path, { recursive: true, force: true });

const zeros = Buffer.alloc(imageChunkBytes);
const isZero = (data: Buffer): boolean => data.equals(zeros.subarray(0, data.length));

const sizeOf = async (
  dir: string,
  name: string,
): Promise<{ name: string; bytes: number; usedAt: number }> => {
  let bytes = 0;
  for (const file of await readdir(join(dir, name)))
    bytes += (await stat(join(dir, name, file)).catch(() => undefined))?.size ?? 0;
  return { name, bytes, usedAt: (await stat(join(dir, name))).mtimeMs };
};
