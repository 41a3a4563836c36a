/** Files with which clients find the region: an AWS profile of its own, and a shell file. The user's own `~/.aws` is never touched. */
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { codeDirectory } from '#node/directory.ts';
import { awsEnvironment } from './commands/aws.ts';
import type { Region } from './region.ts';

const save = (path: string, lines: readonly string[]): void =>
  writeFileSync(path, `${lines.join('\n')}\n`, { mode: 0o600 });

/** Writes `aws/config`, `aws/credentials` and `env.sh` of the region's directory. */
export function writeAwsFiles(region: Region): void {
  const { directory, run, endpoint, credentials } = region;
  mkdirSync(directory.aws, { recursive: true, mode: 0o700 });
  save(join(directory.aws, 'config'), [
    '[profile pando]',
    `region = ${run.regionName}`,
    'output = json',
    `endpoint_url = ${endpoint}`,
    'cli_pager =',
    'retry_mode = standard',
  ]);
  save(join(directory.aws, 'credentials'), [
    '[pando]',
    `aws_access_key_id = ${credentials.accessKeyId}`,
    `aws_secret_access_key = ${credentials.secret}`,
  ]);
  const exports = Object.entries(awsEnvironment(region)).map(([name, value]) => `export ${name}='${value}'`);
  save(directory.env, [
    '# Source this file: . env.sh',
    ...exports,
    'unset AWS_ACCESS_KEY_ID AWS_SECRET_ACCESS_KEY AWS_SESSION_TOKEN',
    '# AWS CLIs before 2.13 do not know AWS_ENDPOINT_URL; with this alias they get it as an argument.',
    `alias aws="${join(codeDirectory, 'pando')} aws --dir '${directory.root}' --"`,
  ]);
}
