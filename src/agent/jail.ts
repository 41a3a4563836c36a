/**
 * The VMM's jail (S1.5): mount, IPC and UTS namespaces of its own, a root that holds only the system's programs
 * (read-only), the image (read-only), the VM's directory and three devices; a uid of its own, no capability, no way
 * to gain one; QEMU's own seccomp filter on top. The network namespace stays the host's: the VMM opens its tap there.
 */
import { spawn } from 'node:child_process';
import { open } from 'node:fs/promises';
import { jailBaseDir, jailRunDir, jailSocketsDir, jailTlsDir } from './qemu-command.ts';

const qemuProgram = '/usr/bin/qemu-system-x86_64';

/**
 * Runs as root in fresh namespaces, then becomes the VMM. Arguments: root, directories of VM, image, TLS and sockets, uid,
 * `kvm` or `-`, the number of cgroup.procs files, those files, then the VMM's arguments. `umount` needs /proc to find
 * what it unmounts, so /proc is there until the last moment.
 */
const script = `set -eu
root=$1 run=$2 base=$3 tls=$4 sockets=$5 uid=$6 kvm=$7 groups=$8
shift 8
while [ "$groups" -gt 0 ]; do echo $$ > "$1"; shift; groups=$((groups - 1)); done
ulimit -c 0
ulimit -n 4096
mount -t tmpfs -o mode=0755,nosuid,noexec,size=64k,nr_inodes=64 jail "$root"
cd "$root"
mkdir old proc usr dev dev/net .${jailRunDir} .${jailBaseDir} .${jailTlsDir} .${jailSocketsDir}
mount --bind -o ro,nosuid,nodev /usr usr
links=
for dir in bin sbin lib lib64; do
  if [ -L "/$dir" ]; then links="$links /$dir"
  elif [ -d "/$dir" ]; then mkdir "$dir"; mount --bind -o ro,nosuid,nodev "/$dir" "$dir"; fi
done
if [ -n "$links" ]; then cp -P $links .; fi
mount --bind -o nosuid,nodev,noexec "$run" .${jailRunDir}
mount --bind -o nosuid,nodev,noexec "$sockets" .${jailSocketsDir}
mount --bind -o ro,nosuid,nodev,noexec "$base" .${jailBaseDir}
mount --bind -o ro,nosuid,nodev,noexec "$tls" .${jailTlsDir}
mknod -m 666 dev/null c 1 3
mknod -m 444 dev/urandom c 1 9
mknod -m 666 dev/net/tun c 10 200
if [ "$kvm" = kvm ]; then mknod -m 666 dev/kvm c 10 232; fi
mount --bind /proc proc
pivot_root . old
cd /
umount -l /old
mount -o remount,ro /
umount -l /proc
exec /usr/bin/setpriv --reuid "$uid" --regid "$uid" --clear-groups --bounding-set=-all --inh-caps=-all \\
  --no-new-privs -- ${qemuProgram} "$@"
`;

export interface Jail {
  /** An empty directory to mount the jail's root on; seen by nobody else. */
  readonly root: string;
  /** The VM's directory, the only one that it may write while its guest runs. */
  readonly runDir: string;
  readonly imageDir: string;
  readonly tlsDir: string;
  readonly socketsDir: string;
  readonly uid: number;
  readonly kvm: boolean;
  /** Groups that the process joins before anything else. */
  readonly cgroupProcs: readonly string[];
  /** Where what the VMM says goes; appended. */
  readonly log: string;
}

/** The arguments of `unshare` that lead to the VMM in its jail. Pure. */
export const jailArgs = (jail: Jail, qemu: readonly string[]): string[] => [
  ...['--mount', '--ipc', '--uts', '--', '/bin/sh', '-c', script, 'pando-jail'],
  ...[
    jail.root,
    jail.runDir,
    jail.imageDir,
    jail.tlsDir,
    jail.socketsDir,
    String(jail.uid),
    jail.kvm ? 'kvm' : '-',
  ],
  ...[String(jail.cgroupProcs.length), ...jail.cgroupProcs],
  ...qemu,
];

/**
 * Starts the VMM, detached: a session of its own and no descriptor of ours, so that it lives on when we die (S1.13).
 * Every step of the way execs, so the process id stays the same. Resolves with it. `exited` is told how it ended, if we still live.
 */
export const startJailed = async (
  jail: Jail,
  qemu: readonly string[],
  exited: (how: string) => void,
): Promise<number> => {
  const log = await open(jail.log, 'a', 0o600);
  try {
    const child = spawn('unshare', jailArgs(jail, qemu), {
      detached: true,
      stdio: ['ignore', log.fd, log.fd],
      env: { PATH: '/usr/sbin:/usr/bin:/sbin:/bin' },
    });
    child.once('exit', (code, signal) =>
      exited(signal === null ? `exit status ${code}` : `signal ${signal}`),
    );
    return await new Promise((resolve, reject) => {
      child.once('error', reject);
      child.once('spawn', () => {
        child.unref();
        if (child.pid === undefined) reject(new Error('the VMM has no process id'));
        else resolve(child.pid);
      });
    });
  } finally {
    await log.close();
  }
};
