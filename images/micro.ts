import { chmod, chown, copyFile, cp, mkdir, symlink, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { assembleProgram } from './lib/assemble.ts';
import { buildImage, type Recipe } from './lib/build.ts';
import type { BuildOptions, BuiltImage } from './lib/publish.ts';
import { run } from './lib/run.ts';

const here = import.meta.dirname;
const ec2User = 1000;

const libraryPackages = [
  'libc6',
  'libcom-err2',
  'libcrypt1',
  'libext2fs2',
  'libgmp10',
  'libtomcrypt1',
  'libtommath1',
  'zlib1g',
];
const programs = ['usr/sbin/dropbear', 'usr/bin/dropbearkey', 'sbin/resize2fs'];
const libraries = [
  'lib/x86_64-linux-gnu/libc.so.6',
  'lib/x86_64-linux-gnu/libcom_err.so.2',
  'lib/x86_64-linux-gnu/libcrypt.so.1',
  'lib/x86_64-linux-gnu/libe2p.so.2',
  'lib/x86_64-linux-gnu/libext2fs.so.2',
  'lib/x86_64-linux-gnu/libz.so.1',
  'usr/lib/x86_64-linux-gnu/libgmp.so.10',
  'usr/lib/x86_64-linux-gnu/libtomcrypt.so.1',
  'usr/lib/x86_64-linux-gnu/libtommath.so.1',
];

/**
 * The kernel's command line. Without the tracing file system's thousands of entries the kernel starts 0.1 s sooner
 * and needs 8 MiB less, which is what makes 64 MiB enough.
 */
export const microCmdline = [
  'console=ttyS0',
  'root=/dev/vda',
  'quiet',
  'panic=1',
  'reboot=t',
  'tsc=reliable',
  'no_timer_check',
  'cryptomgr.notests',
  'rcupdate.rcu_expedited=1',
  '8250.nr_uarts=1',
  'random.trust_cpu=on',
  'initcall_blacklist=tracer_init_tracefs',
  'net.ifnames=0',
].join(' ');

/** What `writeMicroRoot` needs among the unpacked packages, and what it is written from. */
export const microPackages = ['dropbear-bin', 'e2fsprogs', ...libraryPackages];
export const microSources = [join(here, 'micro'), join(here, 'programs')];

const recipe: Recipe = {
  name: 'pando-micro',
  description: 'Pando micro: busybox, dropbear and a web page, on the Debian cloud kernel',
  packages: microPackages,
  sources: microSources,
  self: import.meta.filename,
  cmdline: microCmdline,
  diskBytes: 1024 ** 3,
  minMemoryMib: 64,
  writeRoot: ({ unpacked, root }) => writeMicroRoot(unpacked, root),
};

/**
 * Builds the default image: Debian's cloud kernel, busybox, dropbear and a web page, made to answer soon after
 * its launch and to fit the smallest instance. Does nothing when the same recipe stands built in `outDir`.
 */
export const buildDefaultImage = (options: BuildOptions): Promise<BuiltImage> => buildImage(recipe, options);

/** Fills `root`. Other images begin with it: a small Linux that takes its address, name, keys and user data from the cloud. */
export async function writeMicroRoot(unpacked: string, root: string): Promise<void> {
  await cp(join(here, 'micro/root'), root, { recursive: true });
  for (const path of [
    'dev',
    'proc',
    'sys',
    'run',
    'tmp',
    'mnt',
    'bin',
    'sbin',
    'usr/bin',
    'usr/sbin',
    'lib64',
    'var/lib/pando',
    'var/log',
    'etc/dropbear',
  ]) {
    await mkdir(join(root, path), { recursive: true });
  }
  for (const path of [...programs, ...libraries]) await copyInto(unpacked, root, path);
  await copyFile(
    join(unpacked, 'lib/x86_64-linux-gnu/ld-linux-x86-64.so.2'),
    join(root, 'lib64/ld-linux-x86-64.so.2'),
  );
  await copyFile(join(unpacked, 'bin/busybox'), join(root, 'bin/busybox'));
  await assembleProgram('memcheck', join(root, 'usr/lib/pando/memcheck'));
  await assembleProgram('reseed', join(root, 'usr/lib/pando/reseed'));
  await linkApplets(join(root, 'bin/busybox'), root);
  await symlink('/run', join(root, 'var/run'));
  await symlink('/run/pando/resolv.conf', join(root, 'etc/resolv.conf'));
  await symlink('/proc/mounts', join(root, 'etc/mtab'));
  await setModes(root);
}

/** Copies a file of the unpacked packages to the same place below `root`. */
export async function copyInto(unpacked: string, root: string, path: string): Promise<void> {
  await mkdir(dirname(join(root, path)), { recursive: true });
  await copyFile(join(unpacked, path), join(root, path)); // follows a library's version link
}

/** Package tools would act on files that this image does not have. */
const appletsLeftOut = new Set(['busybox', 'dpkg', 'dpkg-deb', 'rpm', 'rpm2cpio', 'linuxrc', 'mke2fs']);

async function linkApplets(busybox: string, root: string): Promise<void> {
  for (const path of (await run(busybox, ['--list-full'])).split('\n')) {
    const applet = path.split('/').at(-1) ?? '';
    if (applet === '' || appletsLeftOut.has(applet)) continue;
    const target = path.startsWith('usr/') ? '../../bin/busybox' : '../bin/busybox';
    await mkdir(dirname(join(root, path)), { recursive: true });
    await symlink(target, join(root, path)).catch((error: NodeJS.ErrnoException) => {
      if (error.code !== 'EEXIST') throw error;
    });
  }
}

async function setModes(root: string): Promise<void> {
  for (const directory of ['etc/init.d', 'etc/acpi', 'usr/lib/pando', 'srv/www/cgi-bin']) {
    await run('chmod', ['-R', 'a+rx', join(root, directory)]);
  }
  await chmod(join(root, 'tmp'), 0o1777);
  await chmod(join(root, 'etc/shadow'), 0o600);
  await chmod(join(root, 'etc/dropbear'), 0o700);
  for (const [home, owner] of [
    ['root', 0],
    ['home/ec2-user', ec2User],
  ] as const) {
    await mkdir(join(root, home, '.ssh'), { recursive: true, mode: 0o700 });
    await writeFile(join(root, home, '.ssh/authorized_keys'), '', { mode: 0o600 });
    for (const path of [home, `${home}/.ssh`, `${home}/.ssh/authorized_keys`])
      await chown(join(root, path), owner, owner);
    await chmod(join(root, home), 0o700);
  }
  await chmod(join(root, 'home'), 0o755);
}
