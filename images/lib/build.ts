import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { rememberApt } from './aptMemory.ts';
import { makeDisk } from './disk.ts';
import { bootKernel, buildInitramfs } from './initramfs.ts';
import { describeFile, readManifest } from './manifest.ts';
import {
  fetchPackages,
  kernelPackageName,
  type Package,
  resolvePackages,
  unpackPackage,
} from './packages.ts';
import { type BuildOptions, type BuiltImage, publish, recipeKey } from './publish.ts';

/** What a root file system is written from. */
export interface RootParts {
  /** The directory to fill; it is there and empty. */
  readonly root: string;
  readonly scratch: string;
  /** Files of `packages` and of the kernel's package. */
  readonly unpacked: string;
  /** As the kernel calls itself: the name of its directory of modules. */
  readonly kernelVersion: string;
  readonly log: (line: string) => void;
  readonly signal: AbortSignal | undefined;
}

/** An image that boots Debian's cloud kernel directly. */
export interface Recipe {
  readonly name: string;
  readonly description: string;
  /** Debian packages to unpack; the kernel's and busybox-static's are added. */
  readonly packages: readonly string[];
  /** Packages that `writeRoot` gets by itself: new versions of them make a new image. */
  readonly versionsOf?: readonly string[];
  /** Directories and the builder's own file: changes in them make a new image. */
  readonly sources: readonly string[];
  readonly self: string;
  readonly cmdline: string;
  readonly diskBytes: number;
  readonly minMemoryMib: number;
  /** A smaller disk that is slower to read. */
  readonly compress?: boolean;
  writeRoot(parts: RootParts): Promise<void>;
}

interface Resolved {
  readonly kernelPackage: string;
  readonly packages: Package[];
  readonly versions: Package[];
}

const kernelMetapackage = 'linux-image-cloud-amd64';
const images = join(import.meta.dirname, '..');
const init = join(images, 'initramfs', 'init');

/** Builds the image unless the same recipe stands built in `outDir`. */
export async function buildImage(recipe: Recipe, options: BuildOptions): Promise<BuiltImage> {
  const { name, cmdline, diskBytes } = recipe;
  const { log = () => {}, signal } = options;
  const resolved = await resolve(recipe, options).catch((error: unknown) => standing(recipe, options, error));
  if ('manifest' in resolved) return resolved;
  const { kernelPackage, packages } = resolved;
  const source = await readFile(recipe.self, 'utf8');
  const key = await recipeKey([...recipe.sources, join(images, 'initramfs'), join(images, 'lib')], {
    ...resolved,
    cmdline,
    source,
  });

  return publish(name, key, options, async (dir, scratch) => {
    log(`${name}: fetching ${packages.length} packages`);
    const unpacked = await unpackAll(packages, options.cacheDir, scratch, signal);
    log(`${name}: kernel and initramfs`);
    await writeFile(join(dir, 'kernel'), await bootKernel(unpacked, kernelPackage));
    await writeFile(join(dir, 'initrd'), await buildInitramfs(unpacked, init));
    log(`${name}: root file system`);
    const root = join(scratch, 'root');
    await mkdir(root);
    const kernelVersion = kernelPackage.replace('linux-image-', '');
    await recipe.writeRoot({ root, scratch, unpacked, kernelVersion, log, signal });
    log(`${name}: disk`);
    const disk = join(dir, 'disk.qcow2');
    const { compress } = recipe;
    await makeDisk({ root, disk, scratch, virtualBytes: diskBytes, label: 'pando-root', compress, signal });
    log(`${name}: digests`);
    return {
      description: recipe.description,
      architecture: 'x86_64',
      bootMode: 'direct-kernel',
      files: {
        disk: { ...(await describeFile(dir, 'disk.qcow2')), virtualBytes: diskBytes, format: 'qcow2' },
        kernel: await describeFile(dir, 'kernel'),
        initrd: await describeFile(dir, 'initrd'),
      },
      cmdline,
      minMemoryMib: recipe.minMemoryMib,
    };
  });
}

/** The versions that apt would fetch now. */
function resolve(recipe: Recipe, { cacheDir, signal }: BuildOptions): Promise<Resolved> {
  const { versionsOf = [] } = recipe;
  const question = [kernelMetapackage, ...recipe.packages, '', ...versionsOf];
  return rememberApt(cacheDir, question, async () => {
    const kernelPackage = await kernelPackageName(kernelMetapackage, signal);
    const names = [...new Set([kernelPackage, 'busybox-static', ...recipe.packages])];
    return {
      kernelPackage,
      packages: await resolvePackages(names, signal),
      versions: versionsOf.length === 0 ? [] : await resolvePackages(versionsOf, signal),
    };
  });
}

/** The image that stands, where apt cannot be asked whether there would be a newer one; throws apt's error where none stands. */
async function standing({ name }: Recipe, options: BuildOptions, error: unknown): Promise<BuiltImage> {
  const dir = join(options.outDir, name);
  const manifest = options.signal?.aborted === true ? undefined : await readManifest(dir);
  if (manifest === undefined) throw error;
  const reason = error instanceof Error ? error.message : String(error);
  options.log?.(`${name}: going on with the image that stands; apt could not be asked: ${reason}`);
  return { dir, manifest, built: false };
}

async function unpackAll(
  packages: readonly Package[],
  cacheDir: string,
  scratch: string,
  signal?: AbortSignal,
): Promise<string> {
  const into = join(scratch, 'packages');
  for (const deb of await fetchPackages(packages, join(cacheDir, 'debs'), signal))
    await unpackPackage(deb, into, signal);
  return into;
}
