/** Installs an application's own npm packages on its first use, so that the cloud's first run stays as quick as it is. */
import { createHash } from 'node:crypto';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { exec } from '#base/exec.ts';
import { codeDirectory } from '#node/directory.ts';
import { withLock } from '#node/lock.ts';
import { step, UserError } from './output.ts';

const installTimeoutMs = 5 * 60_000;

/** The applications of this repository. */
export const appNames = ['payments'] as const;
export type AppName = (typeof appNames)[number];

export const appDirectory = (name: AppName): string => join(codeDirectory, 'apps', name);

/** Makes sure that the packages of the application's lock file are there. */
export async function ensureAppModules(name: AppName): Promise<void> {
  const home = appDirectory(name);
  const wanted = createHash('sha256')
    .update(readFileSync(join(home, 'package-lock.json')))
    .digest('hex');
  const stamp = join(home, 'node_modules', '.pando-lock.sha256');
  const isInstalled = (): boolean => existsSync(stamp) && readFileSync(stamp, 'utf8').trim() === wanted;
  if (isInstalled()) return;
  await withLock(join(codeDirectory, '.pando', `app-${name}.lock`), async () => {
    if (isInstalled()) return;
    await step(`installing the npm packages of apps/${name} (first use, or its lock changed)`, () =>
      exec('npm', ['ci', '--no-audit', '--no-fund', '--loglevel=error', '--ignore-scripts'], {
        cwd: home,
        timeoutMs: installTimeoutMs,
      }).catch((error: unknown) => {
        const why = error instanceof Error ? error.message : String(error);
        throw new UserError(
          `npm ci in apps/${name} failed: ${why}\nBehind a proxy or a mirror: npm config set registry URL.`,
        );
      }),
    );
    writeFileSync(stamp, `${wanted}\n`);
  });
}
