import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { type CpioEntry, writeCpio } from './cpio.ts';
import { extractVmlinux } from './kernel.ts';
import { moduleClosure } from './modules.ts';

const modulesWanted = [
  'virtio_pci',
  'virtio_blk',
  'virtio_net',
  'virtio_rng',
  'virtio_balloon',
  'button',
  'evdev',
];
const applets = ['insmod', 'mount', 'poweroff', 'sh', 'switch_root', 'usleep'];
const directories = ['bin', 'dev', 'modules', 'proc', 'root', 'sys'];

/** The kernel to boot, from an unpacked kernel package: the ELF kernel where it can be had, else the `bzImage`. */
export async function bootKernel(unpacked: string, kernelPackage: string): Promise<Buffer> {
  const bzImage = await readFile(
    join(unpacked, 'boot', `vmlinuz-${kernelPackage.replace('linux-image-', '')}`),
  );
  return (await extractVmlinux(bzImage)) ?? bzImage;
}

/**
 * An initramfs that loads the virtio drivers, mounts `/dev/vda` and hands over to its `/sbin/init`, from unpacked
 * packages (the kernel's and busybox-static's) and the script `init`. It is not compressed: unpacking would cost a
 * guest under emulation more than reading does.
 */
export async function buildInitramfs(unpacked: string, init: string): Promise<Buffer> {
  const modules = await moduleClosure(join(unpacked, 'lib/modules'), modulesWanted);
  const file = (path: string, mode: number, data: Buffer): CpioEntry => ({ kind: 'file', path, mode, data });
  return writeCpio([
    ...directories.map((path): CpioEntry => ({ kind: 'directory', path })),
    { kind: 'character-device', path: 'dev/console', mode: 0o600, major: 5, minor: 1 },
    file('bin/busybox', 0o755, await readFile(join(unpacked, 'bin/busybox'))),
    ...applets.map((applet): CpioEntry => ({ kind: 'symlink', path: `bin/${applet}`, target: 'busybox' })),
    file('init', 0o755, await readFile(init)),
    file('modules/order', 0o644, Buffer.from(modules.map((one) => `${one.name}.ko\n`).join(''))),
    ...modules.map((one) => file(`modules/${one.name}.ko`, 0o644, one.data)),
  ]);
}
