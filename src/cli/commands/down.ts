import { existsSync, readdirSync } from 'node:fs';
import { rm } from 'node:fs/promises';
import { resolve } from 'node:path';
import { claims } from '#lab/claims.ts';
import { readRun } from '#lab/runRecord.ts';
import { IndexOfAnother, takeDown } from '#lab/teardown.ts';
import { cacheDirectory, type RunDirectory, runDirectory } from '#node/directory.ts';
import { withLock } from '#node/lock.ts';
import { print, progress, step, UserError } from '../output.ts';
import { backportsFile } from '../provision/install.ts';
import { endSimulated } from '../simulated/end.ts';

/** `pando down`: ends the region and removes everything of it; with `--purge` what regions share too. */
export async function down(options: { dir: string; purge: boolean }): Promise<void> {
  const directory = runDirectory(resolve(options.dir));
  if (isSimulated(directory)) return downSimulated(directory, options.purge);
  const index = indexOf(directory);
  if (index !== undefined || options.purge) needRoot();
  if (index !== undefined)
    await step(`ending the region in ${directory.root}`, (say) =>
      withLock(directory.lockFile, () => takeDown(directory, index, say)).catch((error: unknown) => {
        throw error instanceof IndexOfAnother ? new UserError(error.message) : error;
      }),
    );
  else if (existsSync(directory.root) && readdirSync(directory.root).length > 0)
    throw new UserError(`${directory.root} holds no region of Pando: nothing is touched there.`);
  if (options.purge) await purge();
  print(index === undefined ? 'Nothing was running.' : 'Nothing is left of it.');
  const kept = [cacheDirectory, backportsFile].filter((path) => existsSync(path));
  if (!options.purge && kept.length > 0)
    print(`Kept for the next one: ${kept.join(', ')} (--purge removes them).`);
}

/** A record that is damaged is a real region's: of that one more is left on the machine. */
function isSimulated(directory: RunDirectory): boolean {
  try {
    return readRun(directory)?.simulated !== undefined;
  } catch {
    return false;
  }
}

async function downSimulated(directory: RunDirectory, purge: boolean): Promise<void> {
  const what = await step(`ending the simulated region in ${directory.root}`, () =>
    withLock(directory.lockFile, () => endSimulated(directory, { purge })),
  );
  print(
    what === 'removed'
      ? 'Nothing is left of it.'
      : `Its state stays in ${directory.root}: pando up --simulated goes on from it, --purge removes it.`,
  );
}

/** The run's index: as it recorded it, or, where that is damaged or not written yet, as the machine remembers it. */
function indexOf(directory: RunDirectory): number | undefined {
  const claimed = [...claims()].find(([, claim]) => claim.directory === directory.root)?.[0];
  try {
    return readRun(directory)?.index ?? claimed;
  } catch (error) {
    if (claimed === undefined) throw error;
    progress(`${directory.runFile} is damaged; going by what the machine remembers of the region.`);
    return claimed;
  }
}

/** Removes what outlives regions: built images and downloads, and the source of packages that was added to apt. */
async function purge(): Promise<void> {
  const others = [...claims().values()].map((claim) => claim.directory).filter((path) => existsSync(path));
  if (others.length > 0)
    throw new UserError(
      `Other regions of this machine use what --purge removes: ${others.join(', ')}. End them first.`,
    );
  for (const path of [cacheDirectory, backportsFile])
    if (existsSync(path)) {
      await rm(path, { recursive: true, force: true });
      progress(`removed ${path}`);
    }
  progress('Packages that were installed stay: other programs may use them by now.');
}

function needRoot(): void {
  if (process.getuid?.() !== 0) throw new UserError('Run as root: sudo ./pando down');
}
