/** Which accelerator this host's VMs get: by probe, never by the mere presence of /dev/kvm. */
import { spawn } from 'node:child_process';
import { access, constants, readFile } from 'node:fs/promises';
import { probeTimeoutMs } from './limits.ts';

export type Accelerator = 'tcg' | 'kvm';

const hasVirtualization = async (): Promise<boolean> =>
  /^flags\s*:.*\b(svm|vmx)\b/m.test(await readFile('/proc/cpuinfo', 'utf8').catch(() => ''));

const opens = (path: string): Promise<boolean> =>
  access(path, constants.R_OK | constants.W_OK).then(
    () => true,
    () => false,
  );

/** Boots the firmware under `accelerator` and waits for its first words on the debug port. */
export const probeBoot = (accelerator: Accelerator): Promise<boolean> =>
  new Promise((resolve) => {
    const machine = ['-M', 'pc', '-m', '32', '-nodefaults', '-no-user-config', '-display', 'none'];
    const debug = ['-debugcon', 'stdio', '-global', 'isa-debugcon.iobase=0x402'];
    const child = spawn('qemu-system-x86_64', ['-accel', accelerator, ...machine, ...debug], {
      stdio: ['ignore', 'pipe', 'ignore'],
    });
    const done = (works: boolean): void => {
      clearTimeout(timer);
      child.kill('SIGKILL');
      resolve(works);
    };
    const timer = setTimeout(() => done(false), probeTimeoutMs);
    child.stdout.once('data', () => done(true));
    child.once('error', () => done(false));
    child.once('exit', () => done(false));
  });

/** `auto`: KVM where the device opens, the CPU can virtualize, and a probe boots; else TCG. */
export const chooseAccelerator = async (wanted: 'auto' | Accelerator): Promise<Accelerator> => {
  if (wanted !== 'auto') return wanted;
  return (await opens('/dev/kvm')) && (await hasVirtualization()) && (await probeBoot('kvm')) ? 'kvm' : 'tcg';
};
