import { spawn } from 'node:child_process';
import { join } from 'node:path';
import { UserError } from '../output.ts';
import { findCommand } from '../provision/machine.ts';
import { openRegion, type Region } from '../region.ts';

/** What the AWS CLI and the SDKs read of the environment to reach this region and nothing else. */
export const awsEnvironment = ({ directory, run, endpoint }: Region): Record<string, string> => ({
  AWS_CONFIG_FILE: join(directory.aws, 'config'),
  AWS_SHARED_CREDENTIALS_FILE: join(directory.aws, 'credentials'),
  AWS_PROFILE: 'pando',
  AWS_REGION: run.regionName,
  AWS_DEFAULT_REGION: run.regionName,
  AWS_ENDPOINT_URL: endpoint,
  AWS_EC2_METADATA_DISABLED: 'true',
  AWS_PAGER: '',
});

/** Keys of the caller's own environment would win over the profile. */
const shadowing = ['AWS_ACCESS_KEY_ID', 'AWS_SECRET_ACCESS_KEY', 'AWS_SESSION_TOKEN'];

/** `pando aws …`: the AWS CLI with the endpoint as an argument, which old versions need. */
export async function aws(args: readonly string[], options: { dir: string }): Promise<void> {
  const region = openRegion(options);
  const command = findCommand('aws');
  if (command === undefined) throw new UserError('The AWS CLI is not installed: apt-get install awscli');
  const env: NodeJS.ProcessEnv = { ...process.env, ...awsEnvironment(region) };
  for (const name of shadowing) delete env[name];
  const child = spawn(command, ['--endpoint-url', region.endpoint, ...args], { stdio: 'inherit', env });
  process.exitCode = await new Promise<number>((resolve, reject) => {
    child.once('error', reject);
    child.once('exit', (code) => resolve(code ?? 1));
  });
}
