import { existsSync, readdirSync } from 'node:fs';
import { rm } from 'node:fs/promises';
import { resolve } from 'node:path';
import { claims } from '#lab/claims.ts';
import { runDirectory } from '#lab/directory.ts';
import { withLock } from '#lab/lock.ts';
import { readRun } from '#lab/runRecord.ts';
import { takeDown } from '#lab/teardown.ts';
import { print, step, UserError } from '../output.ts';
import { imageCache } from './image.ts';

/** `pando down`: ends the region and removes everything of it; with `--purge` the image cache too. */
export async function down(options: { dir: string; purge: boolean }): Promise<void> {
  const directory = runDirectory(resolve(options.dir));
  const claimed = [...claims()].find(([, claim]) => claim.directory === directory.root)?.[0];
  const index = readRun(directory)?.index ?? claimed;
  if (index !== undefined) {
    if (process.getuid?.() !== 0) throw new UserError('Run as root: sudo ./pando down');
    await step(`ending the region in ${directory.root}`, (say) =>
      withLock(directory.lockFile, () => takeDown(directory, index, say)),
    );
  } else if (existsSync(directory.root) && readdirSync(directory.root).length > 0)
    throw new UserError(`${directory.root} holds no region of Pando: nothing is touched there.`);
  if (options.purge) await rm(imageCache, { recursive: true, force: true });
  print(index === undefined ? 'Nothing was running.' : 'Nothing is left of it.');
  if (!options.purge && existsSync(imageCache))
    print(`Images stay cached in ${imageCache} (--purge removes them).`);
}
