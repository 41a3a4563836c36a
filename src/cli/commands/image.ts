import { join } from 'node:path';
import { cacheDirectory, codeDirectory } from '#node/directory.ts';
import { appNames, ensureAppModules, ensureAppPages } from '../appModules.ts';
import { interruptible } from '../interrupt.ts';
import { print, progress, step, ticking, UserError } from '../output.ts';
import { installMissing } from '../provision/install.ts';

interface BuiltImage {
  readonly dir: string;
  readonly built: boolean;
}

type Builder = (options: {
  outDir: string;
  cacheDir: string;
  log: (line: string) => void;
  signal?: AbortSignal;
}) => Promise<BuiltImage>;

/** The builders live beside `src/`, not in it, so they are found by their path. */
async function builders(): Promise<Readonly<Record<string, Builder>>> {
  const module = (await import(join(codeDirectory, 'images', 'build.ts'))) as Record<string, Builder>;
  const { buildDefaultImage, buildDebianImage, buildPaymentsImage } = module;
  if (buildDefaultImage === undefined || buildDebianImage === undefined || buildPaymentsImage === undefined)
    throw new Error('images/build.ts lacks a builder');
  return { default: buildDefaultImage, debian: buildDebianImage, payments: buildPaymentsImage };
}

/** Builds (or finds built) the image `name`, and returns its directory. An aborted build leaves nothing behind. */
export async function ensureImage(
  name: string,
  log: (line: string) => void,
  signal?: AbortSignal,
): Promise<BuiltImage> {
  const build = await builderOf(name);
  // An application's image carries its packages and its pages as they are built here.
  const app = appNames.find((each) => each === name);
  if (app !== undefined) {
    await ensureAppModules(app);
    await ensureAppPages(app);
  }
  const [outDir, cacheDir] = [join(cacheDirectory, 'images'), join(cacheDirectory, 'downloads')];
  return build({ outDir, cacheDir, log, signal });
}

async function builderOf(name: string): Promise<Builder> {
  const all = await builders();
  const build = Object.hasOwn(all, name) ? all[name] : undefined;
  if (build === undefined)
    throw new UserError(`There is no image ${name}. There are: ${Object.keys(all).join(', ')}`);
  return build;
}

/** `pando image build NAME`. */
export async function buildImage(name: string): Promise<void> {
  if (process.getuid?.() !== 0)
    throw new UserError('Images hold files of many owners: sudo ./pando image build …');
  await builderOf(name);
  await ticking(() => installMissing({ tests: false }, progress));
  const image = await interruptible(
    (signal) => step(`building the image ${name}`, (say) => ensureImage(name, say, signal)),
    'Nothing half built is left.',
  );
  print(`${image.built ? 'Built' : 'Unchanged'}: ${image.dir}`);
}
