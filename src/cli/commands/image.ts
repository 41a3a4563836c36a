import { join } from 'node:path';
import { codeDirectory } from '#lab/directory.ts';
import { print, step, UserError } from '../output.ts';

/** Built images and downloads: shared by all runs of the machine, kept by `pando down`. */
export const imageCache = '/var/cache/pando';

interface BuiltImage {
  readonly dir: string;
  readonly built: boolean;
}

type Builder = (options: {
  outDir: string;
  cacheDir: string;
  log: (line: string) => void;
}) => Promise<BuiltImage>;

/** The builders live beside `src/`, not in it, so they are found by their path. */
async function builders(): Promise<Readonly<Record<string, Builder>>> {
  const module = (await import(join(codeDirectory, 'images', 'build.ts'))) as Record<string, Builder>;
  const { buildDefaultImage, buildDebianImage } = module;
  if (buildDefaultImage === undefined || buildDebianImage === undefined)
    throw new Error('images/build.ts lacks a builder');
  return { default: buildDefaultImage, debian: buildDebianImage };
}

/** Builds (or finds built) the image `name`, and returns its directory. */
export async function ensureImage(name: string, log: (line: string) => void): Promise<BuiltImage> {
  const all = await builders();
  const build = Object.hasOwn(all, name) ? all[name] : undefined;
  if (build === undefined)
    throw new UserError(`There is no image ${name}. There are: ${Object.keys(all).join(', ')}`);
  return build({ outDir: join(imageCache, 'images'), cacheDir: join(imageCache, 'downloads'), log });
}

/** `pando image build NAME`. */
export async function buildImage(name: string, _options: { dir: string }): Promise<void> {
  const image = await step(`building the image ${name}`, (say) => ensureImage(name, say));
  print(`${image.built ? 'Built' : 'Unchanged'}: ${image.dir}`);
}
