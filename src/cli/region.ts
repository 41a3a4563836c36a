/** The region that a command is about: found by its directory. */
import { resolve } from 'node:path';
import { type RunDirectory, runDirectory } from '#lab/directory.ts';
import { endpointOf, type RunRecord, readRun } from '#lab/runRecord.ts';
import { Ec2Client } from './ec2Client.ts';
import { UserError } from './output.ts';

export interface Region {
  readonly directory: RunDirectory;
  readonly run: RunRecord;
  readonly endpoint: string;
  readonly ec2: Ec2Client;
}

/** Opens the region of `--dir`. Throws a `UserError` when there is none. */
export function openRegion(options: { readonly dir: string }): Region {
  const directory = runDirectory(resolve(options.dir));
  const run = readRun(directory);
  if (run === undefined)
    throw new UserError(
      `There is no region in ${directory.root}. Start one: pando up${options.dir === '/var/lib/pando' ? '' : ` --dir ${options.dir}`}`,
    );
  const endpoint = endpointOf(run);
  return {
    directory,
    run,
    endpoint,
    ec2: new Ec2Client({ endpoint, region: run.regionName, credentials: run.account }),
  };
}
