/** What `pando doctor` looks at: each check tries the thing itself rather than trust a version. */
import { closeSync, constants, openSync, readFileSync, statfsSync } from 'node:fs';
import { exec } from '#base/exec.ts';
import { distribution, findCommand, isPresent, qemuVersion } from './machine.ts';
import { qemuMajorMin, qemuPackages, runPackages, testPackages } from './packages.ts';

export interface Finding {
  readonly what: string;
  readonly level: 'ok' | 'note' | 'lacking';
  readonly detail: string;
  /** What to do about it. */
  readonly fix?: string;
}

const memoryMibMin = 3_000;
const diskGibMin = 6;
const probeTimeoutMs = 10_000;

/** All findings, in the order to read them. */
export async function examine(): Promise<Finding[]> {
  const root = process.getuid?.() === 0;
  const findings = [system(), privilege(root), memory(), disk('/var/lib'), await qemu(), ...packages()];
  if (root) findings.push(...(await Promise.all(kernelProbes.map(probe))), cgroups());
  findings.push(await accelerator());
  return findings;
}

const system = (): Finding => {
  const { id, codename, pretty } = distribution();
  const known = id === 'debian' || findCommand('apt-get') !== undefined;
  const what = 'system';
  if (process.arch !== 'x64')
    return {
      what,
      level: 'lacking',
      detail: `${pretty} on ${process.arch}`,
      fix: 'Guests are x86-64: use an x86-64 machine.',
    };
  return known
    ? {
        what,
        level: 'ok',
        detail: `${pretty}${codename ? '' : ' (no codename)'}, Node.js ${process.version}`,
      }
    : { what, level: 'note', detail: pretty, fix: 'Packages are installed for you on Debian only.' };
};

const privilege = (root: boolean): Finding =>
  root
    ? { what: 'root', level: 'ok', detail: 'running as root' }
    : {
        what: 'root',
        level: 'lacking',
        detail: 'not root',
        fix: 'Network namespaces need root: sudo ./pando …',
      };

const memory = (): Finding => {
  const kib = Number(/^MemAvailable:\s+(\d+)/m.exec(readFileSync('/proc/meminfo', 'utf8'))?.[1] ?? 0);
  const mib = Math.floor(kib / 1024);
  return mib >= memoryMibMin
    ? { what: 'memory', level: 'ok', detail: `${mib} MiB available` }
    : {
        what: 'memory',
        level: 'lacking',
        detail: `${mib} MiB available`,
        fix: `Free some: ${memoryMibMin} MiB are needed, or start with --cells 1 --hosts-per-cell 1.`,
      };
};

const disk = (path: string): Finding => {
  const { bavail, bsize } = statfsSync(path);
  const gib = Math.floor((bavail * bsize) / 1024 ** 3);
  return gib >= diskGibMin
    ? { what: 'disk', level: 'ok', detail: `${gib} GiB free under ${path}` }
    : {
        what: 'disk',
        level: 'lacking',
        detail: `${gib} GiB free under ${path}`,
        fix: `${diskGibMin} GiB are needed: free some, or give --dir on a bigger disk.`,
      };
};

const qemu = async (): Promise<Finding> => {
  const version = await qemuVersion();
  const fix = './pando doctor --fix (adds the backports suite of this machine’s mirror on Debian 12)';
  if (version === undefined) return { what: 'qemu', level: 'lacking', detail: 'not installed', fix };
  return version.major >= qemuMajorMin
    ? { what: 'qemu', level: 'ok', detail: version.text }
    : {
        what: 'qemu',
        level: 'lacking',
        detail: `${version.text}: live migration needs ${qemuMajorMin} or newer`,
        fix,
      };
};

const packages = (): Finding[] => {
  const missing = [...qemuPackages, ...runPackages].filter((each) => !isPresent(each));
  const forTests = testPackages.filter((each) => !isPresent(each));
  const list = (some: typeof missing): string => some.map((each) => `${each.name} (${each.why})`).join(', ');
  return [
    missing.length === 0
      ? { what: 'packages', level: 'ok', detail: 'all present' }
      : { what: 'packages', level: 'lacking', detail: list(missing), fix: './pando doctor --fix' },
    forTests.length === 0
      ? { what: 'packages for tests', level: 'ok', detail: 'all present' }
      : {
          what: 'packages for tests',
          level: 'note',
          detail: list(forTests),
          fix: './pando test installs them',
        },
  ];
};

interface KernelProbe {
  readonly what: string;
  /** Run by sh in a network namespace that ends with it. */
  readonly script: string;
  readonly flags: readonly string[];
  readonly fix: string;
}

const kernelProbes: readonly KernelProbe[] = [
  {
    what: 'network namespaces',
    script: 'true',
    flags: ['--net'],
    fix: 'Use a kernel with CONFIG_NET_NS, outside restricted containers.',
  },
  {
    what: 'vxlan',
    script: 'ip link add name vx0 type vxlan id 7 dstport 4789 local 127.0.0.1',
    flags: ['--net'],
    fix: 'modprobe vxlan',
  },
  {
    what: 'bridge and veth',
    script: 'ip link add name br0 type bridge && ip link add name ve0 type veth peer name ve1',
    flags: ['--net'],
    fix: 'modprobe bridge veth',
  },
  {
    what: 'tun/tap',
    script: 'ip tuntap add dev tap0 mode tap',
    flags: ['--net'],
    fix: 'modprobe tun; in a container, pass /dev/net/tun',
  },
  {
    what: 'nftables',
    script:
      "nft 'add table inet t; add chain inet t c { type filter hook forward priority 0; }; add rule inet t c ct state established accept'",
    flags: ['--net'],
    fix: 'modprobe nf_tables nf_conntrack',
  },
  {
    what: 'user namespaces',
    script: 'true',
    flags: ['--user', '--map-user=1000', '--map-group=1000'],
    fix: 'sysctl -w user.max_user_namespaces=1000 (PostgreSQL runs in one)',
  },
];

const probe = async ({ what, script, flags, fix }: KernelProbe): Promise<Finding> => {
  const tool = script.split(' ')[0] ?? '';
  if (tool !== 'true' && findCommand(tool) === undefined)
    return {
      what,
      level: 'note',
      detail: `cannot be tried: ${tool} is not installed`,
      fix: './pando doctor --fix',
    };
  try {
    await exec('unshare', [...flags, 'sh', '-c', script], {
      timeoutMs: probeTimeoutMs,
      env: { ...process.env, PATH: `${process.env.PATH}:/usr/sbin:/sbin` },
    });
    return { what, level: 'ok', detail: 'works' };
  } catch (error) {
    const detail = error instanceof Error ? error.message.slice(-160).trim() : String(error);
    return { what, level: 'lacking', detail, fix };
  }
};

const cgroups = (): Finding => {
  const rows = readFileSync('/proc/self/mounts', 'utf8')
    .split('\n')
    .map((row) => row.split(' '));
  const mounted = rows.filter(([, , type]) => type === 'cgroup' || type === 'cgroup2');
  const v1 = mounted.filter(([, , type]) => type === 'cgroup').flatMap((row) => row[3]?.split(',') ?? []);
  const unified = mounted.find(([, , type]) => type === 'cgroup2')?.[1];
  const v2 =
    unified === undefined ? [] : readFileSync(`${unified}/cgroup.controllers`, 'utf8').trim().split(' ');
  const has = (name: string): boolean => v1.includes(name) || v2.includes(name);
  const absent = ['cpu', 'memory', 'pids'].filter((name) => !has(name));
  return absent.length === 0
    ? { what: 'cgroups', level: 'ok', detail: v2.includes('memory') ? 'version 2' : 'version 1' }
    : {
        what: 'cgroups',
        level: 'note',
        detail: `no controller for ${absent.join(', ')}`,
        fix: 'VMs run, but without these limits.',
      };
};

/** A /dev/kvm without hardware behind it exists: an ordinary guest kernel hangs on it. */
const accelerator = async (): Promise<Finding> => {
  const flags = /\b(svm|vmx)\b/.test(readFileSync('/proc/cpuinfo', 'utf8'));
  let opens = false;
  try {
    closeSync(openSync('/dev/kvm', constants.O_RDWR));
    opens = true;
  } catch {
    // Absent or forbidden.
  }
  return flags && opens
    ? { what: 'accelerator', level: 'ok', detail: 'KVM' }
    : {
        what: 'accelerator',
        level: 'note',
        detail: `software emulation: ${opens ? 'the processor shows no virtualization' : '/dev/kvm does not open'}`,
        fix: 'It works, but VMs are about ten times slower. Turn on (nested) virtualization.',
      };
};
