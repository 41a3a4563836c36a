import { chmod, chown, copyFile, cp, mkdir, readFile, symlink, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { makeDisk } from './lib/disk.ts';
import { bootKernel, buildInitramfs } from './lib/initramfs.ts';
import { describeFile } from './lib/manifest.ts';
import {
  fetchPackages,
  kernelPackageName,
  type Package,
  resolvePackages,
  unpackPackage,
} from './lib/packages.ts';
import { type BuildOptions, type BuiltImage, publish, recipeKey } from './lib/publish.ts';
import { run } from './lib/run.ts';
import { memcheckProgram } from './programs/memcheck.ts';
import { reseedProgram } from './programs/reseed.ts';

const name = 'pando-micro';
const here = import.meta.dirname;
const diskBytes = 1024 ** 3;
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
const cmdline = [
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

/**
 * Builds the default image: Debian's cloud kernel, busybox, dropbear and a web page, made to answer soon after
 * its launch and to fit the smallest instance. Does nothing when the same recipe stands built in `outDir`.
 */
export async function buildDefaultImage(options: BuildOptions): Promise<BuiltImage> {
  const { log = () => {}, signal } = options;
  const kernelPackage = await kernelPackageName('linux-image-cloud-amd64', signal);
  const names = [kernelPackage, 'busybox-static', 'dropbear-bin', 'e2fsprogs', ...libraryPackages];
  const packages = await resolvePackages(names, signal);
  const recipe = await recipeKey([join(here, 'micro'), join(here, 'lib'), join(here, 'programs')], {
    cmdline,
    packages,
    source: await readFile(import.meta.filename, 'utf8'),
  });

  return publish(name, recipe, options, async (dir, scratch) => {
    log(`${name}: fetching ${packages.length} packages`);
    const unpacked = await unpackAll(packages, options.cacheDir, scratch, signal);
    log(`${name}: kernel and initramfs`);
    await writeFile(join(dir, 'kernel'), await bootKernel(unpacked, kernelPackage));
    await writeFile(join(dir, 'initrd'), await buildInitramfs(unpacked, join(here, 'micro/initramfs/init')));
    log(`${name}: root file system`);
    const root = join(scratch, 'root');
    await writeRoot(unpacked, root);
    await makeDisk({
      root,
      disk: join(dir, 'disk.qcow2'),
      scratch,
      virtualBytes: diskBytes,
      label: 'pando-root',
      signal,
    });
    log(`${name}: digests`);
    return {
      description: 'Pando micro: busybox, dropbear and a web page, on the Debian cloud kernel',
      architecture: 'x86_64',
      bootMode: 'direct-kernel',
      files: {
        disk: { ...(await describeFile(dir, 'disk.qcow2')), virtualBytes: diskBytes, format: 'qcow2' },
        kernel: await describeFile(dir, 'kernel'),
        initrd: await describeFile(dir, 'initrd'),
      },
      cmdline,
      minMemoryMib: 64,
    };
  });
}

async function unpackAll(
  packages: readonly Package[],
  cacheDir: string,
  scratch: string,
  signal?: AbortSignal,
): Promise<string> {
  const into = join(scratch, 'packages');
  for (const deb of await fetchPackages(packages, join(cacheDir, 'debs'), signal))
    await unpackPackage(deb, into, signal);
  return into;
}

async function writeRoot(unpacked: string, root: string): Promise<void> {
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
  await writeFile(join(root, 'usr/lib/pando/memcheck'), memcheckProgram());
  await writeFile(join(root, 'usr/lib/pando/reseed'), reseedProgram());
  await linkApplets(join(root, 'bin/busybox'), root);
  await symlink('/run', join(root, 'var/run'));
  await symlink('/run/pando/resolv.conf', join(root, 'etc/resolv.conf'));
  await symlink('/proc/mounts', join(root, 'etc/mtab'));
  await setModes(root);
}

async function copyInto(unpacked: string, root: string, path: string): Promise<void> {
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
