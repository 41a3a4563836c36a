import { chmod, cp, mkdir, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { buildImage, type Recipe, type RootParts } from './lib/build.ts';
import type { BuildOptions, BuiltImage } from './lib/publish.ts';
import { run } from './lib/run.ts';
import { suiteSources } from './lib/sources.ts';

const suite = 'bookworm';
const here = import.meta.dirname;

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

const recipe: Recipe = {
  name: 'debian-12',
  description: 'Debian 12 (bookworm): systemd, OpenSSH, cloud-init',
  packages: [],
  versionsOf: included,
  sources: [join(here, 'debian')],
  self: import.meta.filename,
  cmdline:
    'console=ttyS0 root=/dev/vda rw quiet tsc=reliable no_timer_check net.ifnames=0 random.trust_cpu=on',
  diskBytes: 2 * 1024 ** 3,
  minMemoryMib: 256,
  compress: true,
  writeRoot: async (parts) => {
    parts.log(`${recipe.name}: installing ${included.length} packages and what they need (minutes)`);
    await installRoot(parts);
    await addModules(parts);
    await configureRoot(parts.root);
  },
};

/**
 * Builds Debian 12 with systemd, an SSH server and cloud-init, which asks the metadata service for keys and user data.
 * Takes minutes. Does nothing when the same recipe stands built in `outDir`.
 */
export const buildDebianImage = (options: BuildOptions): Promise<BuiltImage> => buildImage(recipe, options);

async function installRoot({ root, scratch, log, signal }: RootParts): Promise<void> {
  const list = join(scratch, 'sources.list');
  await writeFile(list, await suiteSources(suite, signal));
  const dropped = ['/usr/share/doc/*', '/usr/share/man/*', '/usr/share/locale/*', '/usr/share/info/*'];
  const args = ['--mode=root', '--variant=minbase', '--skip=check/empty', `--include=${included.join(',')}`];
  await run(
    'mmdebstrap',
    [...args, ...dropped.map((path) => `--dpkgopt=path-exclude=${path}`), suite, root, list],
    {
      signal,
      env: { ...process.env, TMPDIR: scratch, DEBIAN_FRONTEND: 'noninteractive' },
      onLine: (line) => {
        if (line.startsWith('I:')) log(`${recipe.name}: ${line.slice(2).trim()}`);
      },
    },
  );
}

async function addModules({ unpacked, root, kernelVersion, signal }: RootParts): Promise<void> {
  const modules = join('lib/modules', kernelVersion);
  await cp(join(unpacked, modules), join(root, modules), { recursive: true });
  await run('chroot', [root, '/sbin/depmod', kernelVersion], { signal });
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
