/**
 * QEMU as one would start it by hand, to compare with: a namespace with a bridge, a DHCP server and a metadata service, and
 * the very arguments that Pando gives to QEMU, but for the jail.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { mkdtempSync, readFileSync } from 'node:fs';
import { mkdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { jailBaseDir, jailRunDir, jailSocketsDir, qemuArgs } from '#agent/qemu-command.ts';
import { Qmp } from '#agent/qmp.ts';
import { exec } from '#base/exec.ts';
import { newId } from '#contracts/ids.ts';
import type { BuiltManifest } from '../../images/lib/manifest.ts';

const link = { root: '198.19.250.1', inside: '198.19.250.2' };
const router = '198.19.251.1';
export const rawAddress = '198.19.251.10';
const mac = '02:51:00:00:00:10';
const mtu = 1450;
const metadataAddress = '169.254.169.254';

export interface RawVmOptions {
  readonly accelerator: 'tcg' | 'kvm';
  readonly vcpus: number;
  readonly memoryMib: number;
}

/** One QEMU process. */
export interface RawVm {
  readonly pid: number;
  readonly tap: string;
  /** Connects to its monitor; the caller closes it. */
  monitor(): Promise<Qmp>;
  end(): Promise<void>;
}

export class RawHost implements AsyncDisposable {
  readonly #name = `pdbench-${process.pid}`;
  readonly #dir = mkdtempSync(join(tmpdir(), 'pando-bench-'));
  readonly #imageDir: string;
  readonly #manifest: BuiltManifest;
  readonly #helpers: ChildProcess[] = [];
  readonly #instanceId: string = newId('instance');
  #started = 0;

  private constructor(imageDir: string) {
    this.#imageDir = imageDir;
    // The builder's own output: its shape is checked where it is published.
    this.#manifest = JSON.parse(readFileSync(join(imageDir, 'manifest.json'), 'utf8')) as BuiltManifest;
  }

  static async start(imageDir: string): Promise<RawHost> {
    const host = new RawHost(imageDir);
    try {
      await host.#wire();
      await host.#serve();
      return host;
    } catch (error) {
      await host[Symbol.asyncDispose]();
      throw error;
    }
  }

  /** The root disk of the next VM, made beforehand: its cost is not part of QEMU's launch. */
  async prepareDisk(): Promise<string> {
    const dir = join(this.#dir, `vm-${this.#started++}`);
    await mkdir(dir);
    const base = join(this.#imageDir, this.#manifest.files.disk.path);
    await exec('qemu-img', [
      'create',
      '-q',
      '-f',
      'qcow2',
      '-b',
      base,
      '-F',
      'qcow2',
      join(dir, 'root.qcow2'),
    ]);
    return dir;
  }

  async prepareTap(tap: string): Promise<void> {
    await this.#inside('ip', ['tuntap', 'add', tap, 'mode', 'tap']);
    await exec('ip', ['-n', this.#name, 'link', 'set', tap, 'master', 'br0', 'up']);
  }

  removeTap(tap: string): Promise<unknown> {
    return exec('ip', ['-n', this.#name, 'link', 'delete', tap], { allow: [1] });
  }

  /** Starts QEMU in `dir` on `tap`. `disk` is another VM's directory when this one is the target of a migration. */
  start(options: RawVmOptions, dir: string, tap: string, migration?: { readonly diskDir: string }): RawVm {
    const { kernel, initrd } = this.#manifest.files;
    const args = qemuArgs({
      instanceId: this.#instanceId,
      ...options,
      nic: { tap, mac, mtu },
      ...(kernel === undefined
        ? {}
        : { kernel: { kernel: kernel.path, initrd: initrd?.path, cmdline: this.#manifest.cmdline ?? '' } }),
      incoming: migration !== undefined,
    })
      .filter((arg) => arg !== '-S')
      .map((arg) =>
        arg
          .replace(`${jailRunDir}/root.qcow2`, `${migration?.diskDir ?? dir}/root.qcow2`)
          .replaceAll(`=${jailRunDir}/`, `=${dir}/`)
          .replaceAll(`=${jailSocketsDir}/`, `=${dir}/`)
          .replace(new RegExp(`^${jailRunDir}/`), `${dir}/`)
          .replace(new RegExp(`^${jailBaseDir}/`), `${this.#imageDir}/`),
      );
    const child = spawn('nsenter', [`--net=/run/netns/${this.#name}`, '--', 'qemu-system-x86_64', ...args], {
      stdio: ['ignore', 'ignore', 'inherit'],
    });
    const ended = new Promise<void>((resolve) => child.once('close', () => resolve()));
    return {
      pid: child.pid ?? 0,
      tap,
      monitor: () => monitorOf(join(dir, 'qmp.sock')),
      end: async () => {
        child.kill('SIGKILL');
        await ended;
      },
    };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const helper of this.#helpers) helper.kill('SIGKILL');
    await exec('ip', ['netns', 'delete', this.#name], { allow: [1] });
    await exec('ip', ['link', 'delete', this.#link], { allow: [1] });
    await rm(this.#dir, { recursive: true, force: true });
  }

  get #link(): string {
    return `pdb-${process.pid}`;
  }

  #inside(command: string, args: readonly string[]): Promise<unknown> {
    return exec('ip', ['netns', 'exec', this.#name, command, ...args]);
  }

  async #wire(): Promise<void> {
    await exec('ip', ['netns', 'add', this.#name]);
    await batch(undefined, [
      `link add ${this.#link} type veth peer name up0 netns ${this.#name}`,
      `address add ${link.root}/30 dev ${this.#link}`,
      `link set ${this.#link} up`,
      `route replace 198.19.251.0/24 via ${link.inside}`,
    ]);
    await batch(this.#name, [
      'link set lo up',
      `address add ${link.inside}/30 dev up0`,
      'link set up0 up',
      'link add br0 type bridge stp_state 0 forward_delay 0',
      `address add ${router}/24 dev br0`,
      `address add ${metadataAddress}/32 dev br0`,
      'link set br0 up',
      `route replace default via ${link.root}`,
    ]);
    // An address that does not answer yet is asked for again soon, so that the comparison does not wait for ARP.
    const settings = ['net.ipv4.ip_forward=1', 'net.ipv4.neigh.br0.retrans_time_ms=50'];
    await this.#inside('sysctl', ['-q', '-w', ...settings]);
  }

  async #serve(): Promise<void> {
    const file = join(this.#dir, 'udhcpd.conf');
    const leases = join(this.#dir, 'leases');
    await writeFile(leases, '');
    const options = [`option subnet 255.255.255.0`, `option router ${router}`, `option mtu ${mtu}`];
    await writeFile(
      file,
      [
        `start ${rawAddress}`,
        'end 198.19.251.20',
        'interface br0',
        ...options,
        `static_lease ${mac} ${rawAddress}`,
        `lease_file ${leases}`,
        `pidfile ${join(this.#dir, 'udhcpd.pid')}`,
        '',
      ].join('\n'),
    );
    this.#helper(['busybox', 'udhcpd', '-f', file], 'ignore');
    const script = join(import.meta.dirname, 'rawMetadata.ts');
    const metadata = this.#helper([process.execPath, script, metadataAddress, this.#instanceId], 'pipe');
    await new Promise<void>((resolve, reject) => {
      metadata.stdout?.once('data', () => resolve());
      metadata.once('exit', () => reject(new Error('the metadata service ended')));
    });
  }

  #helper(command: readonly string[], stdout: 'ignore' | 'pipe'): ChildProcess {
    const child = spawn('nsenter', [`--net=/run/netns/${this.#name}`, '--', ...command], {
      stdio: ['ignore', stdout, stdout === 'ignore' ? 'ignore' : 'inherit'],
    });
    this.#helpers.push(child);
    return child;
  }
}

const batch = (netns: string | undefined, lines: readonly string[]): Promise<unknown> =>
  exec('ip', [...(netns === undefined ? [] : ['-n', netns]), '-batch', '-'], {
    input: `${lines.join('\n')}\n`,
  });

async function monitorOf(path: string): Promise<Qmp> {
  for (let attempt = 0; ; attempt++) {
    try {
      return await Qmp.connect(path, 5_000);
    } catch (error) {
      if (attempt >= 100) throw error;
      await pause(50);
    }
  }
}
