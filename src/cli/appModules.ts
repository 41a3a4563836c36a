/** Installs an application's own npm packages on its first use, so that the cloud's first run stays as quick as it is. */
import { createHash } from 'node:crypto';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join, relative } from 'node:path';
import { exec } from '#base/exec.ts';
import { codeDirectory } from '#node/directory.ts';
import { withLockWaiting } from '#node/lock.ts';
import { progress, step, UserError } from './output.ts';

const installTimeoutMs = 5 * 60_000;
const buildTimeoutMs = 2 * 60_000;
/** Another process may install the packages of two folders and build the pages. */
const lockWaitMsMax = 2 * installTimeoutMs + buildTimeoutMs;

/** The applications of this repository. */
export const appNames = ['payments'] as const;
export type AppName = (typeof appNames)[number];

export const appDirectory = (name: AppName): string => join(codeDirectory, 'apps', name);

/** The application's own folder, and that of its pages where it has some: each has a lock file. */
const packageFolders = (name: AppName): string[] =>
  [appDirectory(name), join(appDirectory(name), 'web')].filter((home) =>
    existsSync(join(home, 'package-lock.json')),
  );

/** One process at a time is at work on the application's folders; another waits, and finds it done. */
const alone = <T>(name: AppName, work: () => Promise<T>): Promise<T> =>
  withLockWaiting(
    join(codeDirectory, '.pando', `app-${name}.lock`),
    {
      waitMsMax: lockWaitMsMax,
      onWait: (pid) => progress(`Another pando (pid ${pid}) is at work on apps/${name}: waiting for it`),
    },
    work,
  );

/** Makes sure that the packages of the application's lock files are there. */
export async function ensureAppModules(name: AppName): Promise<void> {
  for (const home of packageFolders(name)) await ensureModules(name, home);
}

async function ensureModules(name: AppName, home: string): Promise<void> {
  const wanted = createHash('sha256')
    .update(readFileSync(join(home, 'package-lock.json')))
    .digest('hex');
  const stamp = join(home, 'node_modules', '.pando-lock.sha256');
  const isInstalled = (): boolean => existsSync(stamp) && readFileSync(stamp, 'utf8').trim() === wanted;
  if (isInstalled()) return;
  const folder = relative(codeDirectory, home);
  await alone(name, async () => {
    if (isInstalled()) return;
    await step(`installing the npm packages of ${folder} (first use, or its lock changed)`, () =>
      exec('npm', ['ci', '--no-audit', '--no-fund', '--loglevel=error', '--ignore-scripts'], {
        cwd: home,
        timeoutMs: installTimeoutMs,
      }).catch((error: unknown) => {
        const why = error instanceof Error ? error.message : String(error);
        throw new UserError(
          `npm ci in ${folder} failed: ${why}\nBehind a proxy or a mirror: npm config set registry URL.`,
        );
      }),
    );
    writeFileSync(stamp, `${wanted}\n`);
  });
}

/** Builds the application's pages where they are missing or older than their sources; the builder keeps a digest of these. */
export async function ensureAppPages(name: AppName): Promise<void> {
  const builder = join(appDirectory(name), 'web', 'build.ts');
  if (!existsSync(builder)) return;
  await alone(name, () =>
    step(`pages of apps/${name}`, async () => {
      await exec(process.execPath, ['--disable-warning=ExperimentalWarning', builder], {
        timeoutMs: buildTimeoutMs,
      });
    }),
  );
}
