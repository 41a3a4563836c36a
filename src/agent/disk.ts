/** A VM's root disk: an overlay on its image, of the size that was asked for. */
import { access, chown, mkdir, readFile, rename, rm, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { exec } from '#base/exec.ts';
import { PandoError } from '#contracts/errors.ts';
import type { VmRequirement } from '#contracts/host.ts';
import type { CachedImage } from './image-cache.ts';
import { jailBaseDir } from './qemu-command.ts';
import type { VmPaths } from './vm-store.ts';

const mib = 1024 * 1024;

/** Makes the directories that the jail needs, owned by the VM's uid where it writes. */
export const makeRunDirs = async (paths: VmPaths, uid: number): Promise<void> => {
  await mkdir(paths.jail, { recursive: true, mode: 0o700 });
  await mkdir(paths.run, { recursive: true, mode: 0o700 });
  await chown(paths.run, uid, uid);
  // Anew: what an earlier VMM has left there is not taken for this one's.
  await rm(paths.sockets, { recursive: true, force: true });
  await mkdir(paths.sockets, { mode: 0o700 });
  await chown(paths.sockets, uid, uid);
  await mkdir(paths.tls, { recursive: true, mode: 0o750 });
  await chown(paths.tls, 0, uid);
};

/**
 * Makes the disk unless there is one already. The overlay names its base by the path inside the jail, so it is opened
 * nowhere else: a header that a tenant has tampered with leads to nothing.
 */
export const ensureDisk = async (
  paths: VmPaths,
  uid: number,
  image: CachedImage,
  requirement: VmRequirement,
): Promise<void> => {
  if (await hasDisk(paths)) return;
  const { disk } = image.manifest.files;
  const bytes = requirement.rootDiskMib * mib;
  if (bytes < disk.virtualBytes)
    throw new PandoError(
      'InvalidParameterValue',
      `The root disk is smaller than the image's ${disk.virtualBytes / mib} MiB.`,
    );
  const fresh = join(paths.dir, 'root.new');
  await rm(fresh, { force: true });
  await createOverlay(fresh, disk, bytes);
  await chown(fresh, uid, uid);
  await rename(fresh, paths.disk);
};

/** Overlays that nobody has written to, as qemu-img made them: two of the same base and size are the same, byte by byte. */
const emptyOverlays = new Map<string, Buffer>();
const emptyOverlaysMax = 16;
/** An empty one has 200 KB, and 8 bytes more for each half GiB. */
const emptyOverlayBytesMax = 1024 * 1024;

/** qemu-img is started for the first of its kind; the others are written from memory. */
const createOverlay = async (
  path: string,
  { format, path: base }: { readonly format: string; readonly path: string },
  bytes: number,
): Promise<void> => {
  const key = JSON.stringify([format, base, bytes]);
  const known = emptyOverlays.get(key);
  if (known !== undefined) return writeFile(path, known, { flag: 'wx', mode: 0o644 });
  const backing = ['-u', '-F', format, '-b', `${jailBaseDir}/${base}`];
  await exec('qemu-img', ['create', '-q', '-f', 'qcow2', ...backing, path, String(bytes)]);
  if ((await stat(path)).size > emptyOverlayBytesMax) return;
  for (const oldest of [...emptyOverlays.keys()].slice(0, 1 - emptyOverlaysMax)) emptyOverlays.delete(oldest);
  emptyOverlays.set(key, await readFile(path));
};

/** Only a file that does not exist counts as no disk: one that cannot be looked at just now is not replaced. */
export const hasDisk = async ({ disk }: VmPaths): Promise<boolean> => {
  try {
    await access(disk);
    return true;
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return false;
    throw error;
  }
};
