/** The region's image store: a directory per digest, holding `manifest.json` and the files that it names. */
import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import {
  constants,
  copyFile,
  link,
  mkdir,
  mkdtemp,
  open,
  readFile,
  realpath,
  rename,
  rm,
  stat,
  writeFile,
} from 'node:fs/promises';
import path from 'node:path';
import { pipeline } from 'node:stream/promises';
import { PandoError } from '#contracts/errors.ts';
import {
  type ImageManifest,
  manifestBytesMax,
  manifestDigest,
  parseManifest,
} from '#contracts/image-manifest.ts';
import { importDisk } from './disk-import.ts';

export const imageChunkBytesMax = 4 * 1024 * 1024;
const mib = 1024 * 1024;

const digestPattern = /^[0-9a-f]{64}$/;

const sha256Of = async (file: string): Promise<string> => {
  const hash = createHash('sha256');
  await pipeline(createReadStream(file), hash);
  return hash.digest('hex');
};

const refuse = (message: string, cause?: unknown): PandoError =>
  new PandoError('InvalidParameterValue', message, cause === undefined ? {} : { cause });

const noImage = (): PandoError => new PandoError('NotFound', 'There is no such image file.');

/** Size in bytes as a guest sees it, or an error: a disk that refers to other files would read them from the host. */
export const inspectQcow2 = async (file: string): Promise<number | 'not-qcow2'> => {
  const handle = await open(file, 'r');
  try {
    const header = Buffer.alloc(104);
    const { bytesRead } = await handle.read(header, 0, header.length, 0);
    if (bytesRead < 72 || header.readUInt32BE(0) !== 0x514649fb) return 'not-qcow2';
    const version = header.readUInt32BE(4);
    const externalData = version >= 3 && (header.readBigUInt64BE(72) & 4n) !== 0n;
    if (header.readBigUInt64BE(8) !== 0n || externalData)
      throw refuse('The disk refers to other files (a backing or data file): flatten it first.');
    return Number(header.readBigUInt64BE(24));
  } finally {
    await handle.close();
  }
};

export class ImageStore {
  readonly #dir: string;
  readonly #sources: readonly string[];
  readonly #manifests = new Map<string, ImageManifest>();

  constructor(options: { readonly dir: string; readonly sources: readonly string[] }) {
    this.#dir = options.dir;
    this.#sources = options.sources;
  }

  /** Takes in what lies at `location`: a built image's directory (with `manifest.json`), or a disk file, qcow2 or raw. */
  async import(location: string): Promise<ImageManifest> {
    const source = await this.#allowed(location);
    await mkdir(this.#dir, { recursive: true, mode: 0o700 });
    const fresh = await mkdtemp(path.join(this.#dir, '.new-'));
    try {
      const isDirectory = (await stat(source)).isDirectory();
      const manifest = isDirectory
        ? await this.#takeBuilt(source, fresh)
        : await this.#takeDisk(source, fresh);
      await writeFile(path.join(fresh, 'manifest.json'), `${JSON.stringify(manifest, null, 2)}\n`);
      // The directory is named by its content: one that is there already is the same.
      await rename(fresh, path.join(this.#dir, manifest.digest)).catch((error: NodeJS.ErrnoException) => {
        if (error.code !== 'ENOTEMPTY' && error.code !== 'EEXIST') throw error;
      });
      return manifest;
    } finally {
      await rm(fresh, { recursive: true, force: true });
    }
  }

  /** One chunk of a file of an image. `file` is a key of the manifest's files, or `manifest`. */
  async chunk(request: {
    digest: string;
    file: string;
    offset: number;
    length: number;
  }): Promise<{ data: string; eof: boolean }> {
    const { digest, file, offset, length } = request;
    if (!digestPattern.test(digest)) throw noImage();
    if (offset < 0 || length < 1 || length > imageChunkBytesMax)
      throw refuse(`A chunk has 1 to ${imageChunkBytesMax} bytes from an offset of at least 0.`);
    const at = path.join(this.#dir, digest, await this.#fileName(digest, file));
    const handle = await open(at, 'r').catch(() => {
      throw noImage();
    });
    try {
      const buffer = Buffer.allocUnsafe(length);
      const { bytesRead } = await handle.read(buffer, 0, length, offset);
      const { size } = await handle.stat();
      return { data: buffer.toString('base64', 0, bytesRead), eof: offset + bytesRead >= size };
    } finally {
      await handle.close();
    }
  }

  async #fileName(digest: string, file: string): Promise<string> {
    if (file === 'manifest') return 'manifest.json';
    const { files } = await this.manifest(digest);
    const entry = file === 'disk' || file === 'kernel' || file === 'initrd' ? files[file] : undefined;
    if (entry === undefined) throw noImage();
    return entry.path;
  }

  async manifest(digest: string): Promise<ImageManifest> {
    const known = this.#manifests.get(digest);
    if (known !== undefined) return known;
    const text = await readFile(path.join(this.#dir, digest, 'manifest.json'), 'utf8').catch(() => {
      throw noImage();
    });
    const manifest = parseManifest(text, digest);
    this.#manifests.set(digest, manifest);
    return manifest;
  }

  /** The real path of `location`, which must lie inside one of the source directories, symlinks followed. */
  async #allowed(location: string): Promise<string> {
    const outside = refuse(
      'ImageLocation must be a path inside a directory that images may be registered from.',
    );
    if (!path.isAbsolute(location) || location.includes('\0')) throw outside;
    const real = await realpath(location).catch(() => undefined);
    for (const source of this.#sources) {
      const root = await realpath(source).catch(() => undefined);
      if (real !== undefined && root !== undefined && real.startsWith(`${root}${path.sep}`)) return real;
    }
    throw outside;
  }

  async #takeBuilt(source: string, fresh: string): Promise<ImageManifest> {
    const file = path.join(source, 'manifest.json');
    const size = (await stat(file).catch(() => undefined))?.size ?? Number.POSITIVE_INFINITY;
    if (size > manifestBytesMax) throw refuse('The directory has no manifest.json of an image.');
    const manifest = manifestIn(await readFile(file, 'utf8'));
    for (const entry of Object.values(manifest.files)) {
      if (entry === undefined) continue;
      const from = path.join(source, entry.path);
      if (path.dirname(await realpath(from)) !== source)
        throw refuse(`${entry.path} leads out of the image's directory.`);
      await linkOrCopy(from, path.join(fresh, entry.path));
      if ((await sha256Of(path.join(fresh, entry.path))) !== entry.sha256)
        throw refuse(`${entry.path} is not the file that manifest.json means.`);
    }
    await inspectQcow2(path.join(fresh, manifest.files.disk.path));
    return manifest;
  }

  /** A disk file alone boots by the BIOS. */
  async #takeDisk(source: string, fresh: string): Promise<ImageManifest> {
    const virtualBytes = await importDisk(source, fresh);
    const disk = path.join(fresh, 'disk.qcow2');
    // No name: the same disk registered twice is one image on disk and in every cache.
    const described = {
      name: 'disk',
      description: '',
      architecture: 'x86_64',
      bootMode: 'bios' as const,
      files: {
        disk: {
          path: 'disk.qcow2',
          sha256: await sha256Of(disk),
          bytes: (await stat(disk)).size,
          virtualBytes,
          format: 'qcow2' as const,
        },
      },
      minMemoryMib: 128,
    };

    return { ...described, digest: manifestDigest(described) };
  }
}

/** The manifest that a built image brings; what is wrong with it is said as a fault of the request. */
const manifestIn = (text: string): ImageManifest => {
  try {
    return parseManifest(text);
  } catch (error) {
    throw refuse(`manifest.json: ${PandoError.from(error).message}`, error);
  }
};

/** Built images are published whole and never written to again, so a second name for the file is enough. */
const linkOrCopy = (from: string, to: string): Promise<void> =>
  link(from, to).catch(() => copyFile(from, to, constants.COPYFILE_FICLONE));

export const mibOf = (bytes: number): number => Math.ceil(bytes / mib);
