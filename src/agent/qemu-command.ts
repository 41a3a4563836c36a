/** From what a VM is to QEMU's command line. Pure. Paths are those inside the jail. */
import { createHash } from 'node:crypto';

/** Names inside the jail: the VM's own directory and its image, read-only. */
export const jailRunDir = '/vm';
export const jailBaseDir = '/base';
/** What the VMM proves itself with while it moves its guest; read-only, empty otherwise. */
export const jailTlsDir = '/tls';
/** Where it makes its sockets; it loses the right to write there before its guest runs. */
export const jailSocketsDir = '/sockets';

export const rootNode = 'root';

export interface QemuPlan {
  readonly instanceId: string;
  readonly accelerator: 'tcg' | 'kvm';
  /** May be a fraction: the guest sees the next whole number, the quota holds it to the fraction. */
  readonly vcpus: number;
  readonly memoryMib: number;
  readonly nic: { readonly tap: string; readonly mac: string; readonly mtu: number };
  /** File names inside the image's directory; absent: the disk boots by itself. */
  readonly kernel?: { readonly kernel: string; readonly initrd?: string; readonly cmdline: string };
  /** Waits for a migration instead of booting. */
  readonly incoming: boolean;
}

/**
 * The machine's UUID: made of the instance's id, so that it is the same on the target of a migration, and beginning
 * with `ec2` as guests expect of an EC2 instance.
 */
export const machineUuid = (instanceId: string): string => {
  const digest = createHash('sha256').update(instanceId).digest('hex');
  const hex = `ec2${digest.slice(0, 29)}`;
  return [
    hex.slice(0, 8),
    hex.slice(8, 12),
    `4${hex.slice(13, 16)}`,
    `8${hex.slice(17, 20)}`,
    hex.slice(20),
  ].join('-');
};

const sandbox = 'on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny';

/** tb-size: with 32 MiB of translations a VM costs 72–88 MiB beside its guest, and boots as fast as with more. */
const acceleratorArgs = (accelerator: QemuPlan['accelerator']): string[] =>
  accelerator === 'kvm'
    ? ['-accel', 'kvm', '-cpu', 'host,migratable=on']
    : ['-accel', 'tcg,thread=multi,tb-size=32', '-cpu', 'max'];

const monitorArgs = (name: string): string[] => [
  '-chardev',
  `socket,id=${name},path=${jailSocketsDir}/${name}.sock,server=on,wait=off`,
  '-mon',
  `chardev=${name},mode=control`,
];

const kernelArgs = (kernel: QemuPlan['kernel']): string[] => {
  if (kernel === undefined) return [];
  const initrd = kernel.initrd === undefined ? [] : ['-initrd', `${jailBaseDir}/${kernel.initrd}`];
  return ['-kernel', `${jailBaseDir}/${kernel.kernel}`, ...initrd, '-append', kernel.cmdline];
};

/**
 * The arguments after the program's name. A guest that powers itself off leaves a VMM that stands still and says so
 * (`shutdown=pause`), so that no agent, however late, has to guess why it ended. The guest always starts stopped (`-S`): it runs once its tap is wired into
 * the VPC, and on the target of a migration only when that copy is commissioned (S6.5).
 */
export const qemuArgs = (plan: QemuPlan): string[] => [
  ...['-name', `${plan.instanceId},debug-threads=on`, '-uuid', machineUuid(plan.instanceId)],
  ...['-smbios', `type=1,serial=${machineUuid(plan.instanceId)}`],
  ...['-M', 'pc', '-nodefaults', '-no-user-config', '-display', 'none', '-S', '-sandbox', sandbox],
  ...['-action', 'shutdown=pause'],
  ...acceleratorArgs(plan.accelerator),
  ...['-smp', String(Math.max(1, Math.ceil(plan.vcpus))), '-m', String(plan.memoryMib), '-rtc', 'base=utc'],
  ...['-pidfile', `${jailRunDir}/qemu.pid`],
  ...monitorArgs('qmp'),
  ...monitorArgs('qmp2'),
  '-chardev',
  `socket,id=console,path=${jailSocketsDir}/console.sock,server=on,wait=off,logfile=${jailRunDir}/console.log,logappend=on`,
  ...['-serial', 'chardev:console'],
  ...['-blockdev', `driver=file,node-name=${rootNode}-file,filename=${jailRunDir}/root.qcow2,discard=unmap`],
  ...['-blockdev', `driver=qcow2,node-name=${rootNode},file=${rootNode}-file,discard=unmap`],
  ...['-device', `virtio-blk-pci,id=vda,drive=${rootNode},addr=0x4,bootindex=1`],
  ...['-netdev', `tap,id=net0,ifname=${plan.nic.tap},script=no,downscript=no`],
  '-device',
  `virtio-net-pci,id=eth0,netdev=net0,mac=${plan.nic.mac},host_mtu=${plan.nic.mtu},addr=0x3,romfile=`,
  ...['-object', 'rng-random,id=rng0,filename=/dev/urandom', '-device', 'virtio-rng-pci,rng=rng0,addr=0x5'],
  ...['-device', `vmgenid,guid=${machineUuid(`generation ${plan.instanceId}`)}`],
  ...kernelArgs(plan.kernel),
  ...(plan.incoming ? ['-incoming', 'defer'] : []),
];
