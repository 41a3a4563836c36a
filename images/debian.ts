import { chmod, cp, mkdir, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { makeDisk } from './lib/disk.ts';
import { bootKernel, buildInitramfs } from './lib/initramfs.ts';
import { describeFile } from './lib/manifest.ts';
import { fetchPackages, kernelPackageName, resolvePackages, unpackPackage } from './lib/packages.ts';
import { type BuildOptions, type BuiltImage, publish, recipeKey } from './lib/publish.ts';
import { run } from './lib/run.ts';
import { suiteSources } from './lib/sources.ts';

const name = 'debian-12';
const suite = 'bookworm';
const here = import.meta.dirname;
const diskBytes = 2 * 1024 ** 3;
const cmdline =
  'console=ttyS0 root=/dev/vda rw quiet tsc=reliable no_timer_check net.ifnames=0 random.trust_cpu=on';

const included = [
  'ca-certificates',
  'cloud-init',
  'curl',
  'dbus',
  'e2fsprogs',
  'iproute2',
  'iputils-ping',
  'kmod',
  'less',
  'openssh-server',
  'procps',
  'sudo',
  'systemd-resolved',
  'systemd-sysv',
  'udev',
  'vim-tiny',
];

/**
 * Builds Debian 12 with systemd, an SSH server and cloud-init, which asks the metadata service for keys and user data.
 * Takes minutes. Does nothing when the same recipe stands built in `outDir`.
 */
export async function buildDebianImage(options: BuildOptions): Promise<BuiltImage> {
  const { log = () => {}, signal } = options;
  const kernelPackage = await kernelPackageName('linux-image-cloud-amd64', signal);
  const packages = await resolvePackages([kernelPackage, 'busybox-static'], signal);
  const versions = await resolvePackages(included, signal);
  const sources = await suiteSources(suite, signal);
  const source = await readFile(import.meta.filename, 'utf8');
  const recipe = await recipeKey([join(here, 'debian'), join(here, 'lib'), join(here, 'micro/initramfs')], {
    packages,
    versions,
    source,
  });

  return publish(name, recipe, options, async (dir, scratch) => {
    log(`${name}: installing ${included.length} packages and what they need (minutes)`);
    const root = join(scratch, 'root');
    await installRoot(root, scratch, sources, log, signal);
    log(`${name}: kernel and initramfs`);
    const unpacked = join(scratch, 'packages');
    for (const deb of await fetchPackages(packages, join(options.cacheDir, 'debs'), signal)) {
      await unpackPackage(deb, unpacked, signal);
    }
    await writeFile(join(dir, 'kernel'), await bootKernel(unpacked, kernelPackage));
    await writeFile(join(dir, 'initrd'), await buildInitramfs(unpacked, join(here, 'micro/initramfs/init')));
    await addModules(unpacked, root, kernelPackage.replace('linux-image-', ''), signal);
    await configureRoot(root);
    log(`${name}: root file system`);
    const disk = join(dir, 'disk.qcow2');
    await makeDisk({
      root,
      disk,
      scratch,
      virtualBytes: diskBytes,
      label: 'pando-root',
      compress: true,
      signal,
    });
    log(`${name}: digests`);
    return {
      description: 'Debian 12 (bookworm): systemd, OpenSSH, cloud-init',
      architecture: 'x86_64',
      bootMode: 'direct-kernel',
      files: {
        disk: { ...(await describeFile(dir, 'disk.qcow2')), virtualBytes: diskBytes, format: 'qcow2' },
        kernel: await describeFile(dir, 'kernel'),
        initrd: await describeFile(dir, 'initrd'),
      },
      cmdline,
      minMemoryMib: 256,
    };
  });
}

async function installRoot(
  root: string,
  scratch: string,
  sources: string,
  log: (line: string) => void,
  signal?: AbortSignal,
): Promise<void> {
  const list = join(scratch, 'sources.list');
  await writeFile(list, sources);
  const dropped = ['/usr/share/doc/*', '/usr/share/man/*', '/usr/share/locale/*', '/usr/share/info/*'];
  const args = ['--mode=root', '--variant=minbase', '--skip=check/empty', `--include=${included.join(',')}`];
  await run(
    'mmdebstrap',
    [...args, ...dropped.map((path) => `--dpkgopt=path-exclude=${path}`), suite, root, list],
    {
      signal,
      env: { ...process.env, TMPDIR: scratch, DEBIAN_FRONTEND: 'noninteractive' },
      onLine: (line) => {
        if (line.startsWith('I:')) log(`${name}: ${line.slice(2).trim()}`);
      },
    },
  );
}

async function addModules(
  unpacked: string,
  root: string,
  version: string,
  signal?: AbortSignal,
): Promise<void> {
  const from = join(unpacked, 'lib/modules', version);
  await cp(from, join(root, 'lib/modules', version), { recursive: true });
  await run('chroot', [root, '/sbin/depmod', version], { signal });
}

async function configureRoot(root: string): Promise<void> {
  await cp(join(here, 'debian/root'), root, { recursive: true });
  for (const unit of ['systemd-networkd', 'systemd-resolved', 'ssh', 'serial-getty@ttyS0']) {
    await run('chroot', [root, 'systemctl', 'enable', unit]);
  }
  // Slow under emulation and of no use to a root disk that has no LVM and no foreign binaries.
  for (const unit of ['e2scrub_reap.service', 'systemd-binfmt.service'])
    await run('chroot', [root, 'systemctl', 'mask', unit]);
  // Host keys of the build would be every instance's: cloud-init makes them at the first boot.
  for (const type of ['rsa', 'ecdsa', 'ed25519']) {
    for (const end of ['', '.pub'])
      await rm(join(root, `etc/ssh/ssh_host_${type}_key${end}`), { force: true });
  }
  await writeFile(join(root, 'etc/hostname'), 'debian\n');
  await rm(join(root, 'var/lib/dbus/machine-id'), { force: true });
  await rm(join(root, 'var/cache/apt'), { recursive: true, force: true });
  await mkdir(join(root, 'var/cache/apt/archives/partial'), { recursive: true });
  await chmod(join(root, 'tmp'), 0o1777);
}
