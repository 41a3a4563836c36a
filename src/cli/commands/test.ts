import { spawn } from 'node:child_process';
import { join } from 'node:path';
import { codeDirectory } from '#node/directory.ts';
import { progress, ticking } from '../output.ts';
import { installMissing } from '../provision/install.ts';

/** `pando test [--soak] [--times] [pattern…]`: provides for the tests, then runs them; the exit code is theirs. */
export async function test(
  patterns: readonly string[],
  options: { soak?: boolean; times?: boolean },
): Promise<void> {
  await ticking(() => installMissing({ tests: true }, progress));
  const args = [
    '--disable-warning=ExperimentalWarning',
    join(codeDirectory, 'tools', 'run-tests.ts'),
    ...(options.soak ? ['--soak'] : []),
    ...(options.times ? ['--times'] : []),
    ...patterns,
  ];
  const child = spawn(process.execPath, args, { cwd: codeDirectory, stdio: 'inherit' });
  const forward = (name: NodeJS.Signals): boolean => child.kill(name);
  for (const name of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(name, forward);
  process.exitCode = await new Promise<number>((resolve, reject) => {
    child.once('error', reject);
    child.once('exit', (code) => resolve(code ?? 1));
  });
}
