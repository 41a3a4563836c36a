/** The region that a command is about: found by its directory. */
import { resolve } from 'node:path';
import { endpointOf, type RunRecord, readRun } from '#lab/runRecord.ts';
import { type RunDirectory, runDirectory } from '#node/directory.ts';
import { Ec2Client } from './ec2Client.ts';
import { UserError } from './output.ts';
import type { Credentials } from './sign.ts';

export interface Region {
  readonly directory: RunDirectory;
  readonly run: RunRecord;
  readonly endpoint: string;
  readonly credentials: Credentials;
  readonly ec2: Ec2Client;
}

/** The run of `--dir`, whatever state it is in. Throws a `UserError` when there is none. */
export function openRun(options: { readonly dir: string }): Pick<Region, 'directory' | 'run'> {
  const directory = runDirectory(resolve(options.dir));
  const run = readRun(directory);
  if (run !== undefined) return { directory, run };
  const more = options.dir === '/var/lib/pando' ? '' : ` --dir ${options.dir}`;
  throw new UserError(
    `There is no region in ${directory.root}. Start one: pando up${more} (or pando up --simulated${more}, without root and without VMs)`,
  );
}

/** Opens the region of `--dir` as its user. Throws a `UserError` when there is none, or none that came up once. */
export function openRegion(options: { readonly dir: string }): Region {
  const { directory, run } = openRun(options);
  const credentials = run.account;
  if (credentials === undefined)
    throw new UserError(`The region in ${directory.root} has not been wholly up yet. Run: pando up`);
  const endpoint = endpointOf(run);
  const ec2 = new Ec2Client({ endpoint, region: run.regionName, credentials });
  return { directory, run, endpoint, credentials, ec2 };
}
