import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { readFile } from 'node:fs/promises';
import { connect as dial } from 'node:net';
import { join } from 'node:path';
import { promisify } from 'node:util';
import type { ImageManifest } from '#contracts/image-manifest.ts';
import { freePort } from '../support/freePort.ts';

const execute = promisify(execFile);
/** Under emulation, on a machine that does other things too. */
/** Software emulation on a busy machine: minutes, where an idle one takes seconds. */
const patienceMs = 600_000;

/** What to boot. */
export interface GuestPlan {
  imageDir: string;
  /** The test's own directory: overlay, key and sockets lie here. */
  dir: string;
  memoryMib: number;
  metadataPort: number;
  /** The overlay's size; an overlay that stands there already is booted again. */
  diskGib?: number;
  /** The machine's UUID and serial number as the firmware tells them: cloud-init knows EC2 by one that begins with `ec2`. */
  uuid?: string;
  /** Boot without a network interface: `plug` brings it. */
  unplugged?: boolean;
}

/** A running guest behind QEMU's user network. */
export class Guest implements AsyncDisposable {
  readonly #process: ChildProcess;
  readonly #dir: string;
  readonly #ended: Promise<number | null>;
  readonly ports: { http: number; ssh: number };
  console = '';

  private constructor(process: ChildProcess, dir: string, ports: { http: number; ssh: number }) {
    this.#process = process;
    this.#dir = dir;
    this.ports = ports;
    this.#ended = new Promise((resolve) => process.once('exit', resolve));
    process.stdout?.setEncoding('utf8').on('data', (text: string) => {
      this.console += text;
    });
  }

  static async start(plan: GuestPlan): Promise<Guest> {
    const manifest: ImageManifest = JSON.parse(await readFile(join(plan.imageDir, 'manifest.json'), 'utf8'));
    const overlay = join(plan.dir, 'overlay.qcow2');
    const base = join(plan.imageDir, manifest.files.disk.path);
    const size = `${plan.diskGib ?? 2}G`;
    const fresh = await readFile(overlay).then(
      () => false,
      () => true,
    );
    if (fresh)
      await execute('qemu-img', ['create', '-q', '-f', 'qcow2', '-b', base, '-F', 'qcow2', overlay, size]);
    const ports = { http: await freePort(), ssh: await freePort() };
    const process = spawn('qemu-system-x86_64', machine(plan, manifest, overlay, ports), {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    return new Guest(process, plan.dir, ports);
  }

  /** Waits until `probe` gives something; fails when QEMU ends or patience does, with the console's tail. */
  async until<T>(what: string, probe: () => Promise<T | undefined> | T | undefined): Promise<T> {
    const deadline = performance.now() + patienceMs;
    while (performance.now() < deadline && this.#process.exitCode === null) {
      const found = await probe();
      if (found !== undefined) return found;
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
    throw new Error(`no ${what}; the console's end:\n${this.console.slice(-3000)}`);
  }

  /** Waits until the console shows `text`. */
  async shows(text: string): Promise<void> {
    await this.until(`"${text}" on the console`, () => (this.console.includes(text) ? true : undefined));
  }

  /** A page of the guest's web server; undefined while it does not answer. */
  async page(path: string): Promise<string | undefined> {
    try {
      const signal = AbortSignal.timeout(2000);
      const response = await fetch(`http://127.0.0.1:${this.ports.http}${path}`, {
        signal,
        // The guest's server ends each connection: one taken up again would fail.
        headers: { connection: 'close' },
      });
      return response.ok ? await response.text() : undefined;
    } catch {
      return undefined;
    }
  }

  /** Runs a command by SSH with the test's key; rejects when the login is refused or the command fails. */
  async ssh(user: string, command: string, options: readonly string[] = []): Promise<string> {
    const quiet = [
      'StrictHostKeyChecking=no',
      'UserKnownHostsFile=/dev/null',
      'LogLevel=ERROR',
      'BatchMode=yes',
    ];
    const args = [...quiet, 'ConnectTimeout=30', 'IdentitiesOnly=yes'].flatMap((option) => ['-o', option]);
    const place = ['-F', 'none', '-p', `${this.ports.ssh}`, `${user}@127.0.0.1`, command];
    const { stdout } = await execute('ssh', [...args, '-i', join(this.#dir, 'key'), ...options, ...place], {
      timeout: patienceMs,
    });
    return stdout.trim();
  }

  /** Gives QEMU's monitor one command and returns its answer. */
  async monitor(execute: string, args: object = {}): Promise<void> {
    const socket = dial(join(this.#dir, 'monitor'));
    let heard = '';
    socket.setEncoding('utf8').on('data', (text: string) => {
      heard += text;
    });
    socket.write(
      `{"execute":"qmp_capabilities"}\n${JSON.stringify({ execute, arguments: args, id: 'asked' })}\n`,
    );
    const answer = await this.until(`answer to ${execute}`, () =>
      heard.split('\n').find((line) => line.includes('"asked"')),
    );
    socket.destroy();
    if (answer.includes('"error"')) throw new Error(answer);
  }

  /** Presses the power button and waits for QEMU to end by itself. */
  async powerDown(): Promise<number | null> {
    await this.monitor('system_powerdown');
    const late = setTimeout(() => this.#process.kill('SIGKILL'), patienceMs);
    try {
      return await this.#ended;
    } finally {
      clearTimeout(late);
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#process.kill('SIGKILL');
    await this.#ended;
  }
}

/** Makes the test's key and returns its public half. */
export async function makeKey(dir: string): Promise<string> {
  await execute('ssh-keygen', ['-q', '-t', 'ed25519', '-N', '', '-C', 'test', '-f', join(dir, 'key')]);
  return (await readFile(join(dir, 'key.pub'), 'utf8')).trim();
}

function machine(
  plan: GuestPlan,
  manifest: ImageManifest,
  overlay: string,
  ports: { http: number; ssh: number },
): string[] {
  const file = (name: string | undefined): string => join(plan.imageDir, name ?? '');
  const forward = `hostfwd=tcp:127.0.0.1:${ports.http}-:80,hostfwd=tcp:127.0.0.1:${ports.ssh}-:22`;
  const metadata = `guestfwd=tcp:169.254.169.254:80-cmd:socat - TCP:127.0.0.1:${plan.metadataPort}`;
  const subnet = 'net=169.254.169.0/24,host=169.254.169.2,dns=169.254.169.3,dhcpstart=169.254.169.15';
  const plugged = plan.unplugged === true ? [] : ['-device', 'virtio-net-pci,netdev=n,romfile='];
  const firmware = plan.uuid === undefined ? [] : ['-smbios', `type=1,uuid=${plan.uuid},serial=${plan.uuid}`];
  return [
    ...firmware,
    ...[
      '-M',
      'pc,usb=off',
      '-accel',
      'tcg,thread=multi,tb-size=32',
      '-cpu',
      'max',
      '-m',
      `${plan.memoryMib}`,
    ],
    ...['-nodefaults', '-no-user-config', '-display', 'none', '-serial', 'stdio'],
    ...['-kernel', file(manifest.files.kernel?.path), '-initrd', file(manifest.files.initrd?.path)],
    ...['-append', manifest.cmdline ?? '', '-drive', `file=${overlay},if=none,id=d,cache=unsafe`],
    ...['-device', 'virtio-blk-pci,drive=d', '-device', 'virtio-rng-pci'],
    ...['-netdev', `user,id=n,${subnet},${forward},${metadata}`, ...plugged],
    ...['-qmp', `unix:${join(plan.dir, 'monitor')},server=on,wait=off`],
  ];
}
