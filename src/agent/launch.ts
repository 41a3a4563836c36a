/** Starts a VM's VMM: checks, disk, groups, jail, tap handed to the card, guest running. Each part may be repeated. */
import type { z } from 'zod';
import { PandoError } from '#contracts/errors.ts';
import type { hostContract } from '#contracts/host.ts';
import { ensureDisk, hasDisk, makeRunDirs } from './disk.ts';
import type { CachedImage } from './image-cache.ts';
import { startJailed } from './jail.ts';
import { commissionWhenHandedOver } from './migration/handover.ts';
import { openIncoming } from './migration/target.ts';
import { wireTap } from './network.ts';
import { type QemuPlan, qemuArgs } from './qemu-command.ts';
import { fullIsNoCapacity } from './room.ts';
import type { Vm } from './vm.ts';
import type { PreparedNetwork, VmRecord } from './vm-record.ts';

type Launch = (typeof hostContract)['vm.launch'];
export type LaunchParams = z.output<Launch['params']>;
export type LaunchResult = z.output<Launch['result']>;

export const launchVm = async (vm: Vm, params: LaunchParams): Promise<LaunchResult> => {
  const { record, context } = vm;
  const network = checkNetwork(vm, params);
  const image = await checkImage(vm, params);
  const running = await vm.alive();
  if (running && record.state !== 'preparing') return alreadyUp(vm, params);
  if (!running) {
    await vm.kill();
    if (network.tapAt === 'card')
      throw new PandoError(
        'IncorrectState',
        `The network of ${record.instanceId} served an earlier VMM: prepare it again.${whyItEnded(record)}`,
      );
    await checkDisk(vm, params);
    await context.admit(record.instanceId, params.requirement);
    record.image = params.image;
    record.migration = undefined;
  }
  try {
    if (!running) await fullIsNoCapacity(() => startVmm(vm, image, network, params.incoming));
    return await bringUp(vm, params);
  } catch (error) {
    const why = error instanceof Error ? error.message : String(error);
    record.ended ??= { cause: 'failed-to-start', at: new Date().toISOString(), detail: why };
    await vm.kill(false);
    await context.cgroups.remove(record.instanceId);
    vm.setState('failed', why);
    await vm.save();
    throw error;
  }
};

/** The first try's own reason: a repeat would otherwise hide it. */
const whyItEnded = ({ ended }: VmRecord): string =>
  ended === undefined ? '' : ` That one ended (${ended.cause}): ${ended.detail}`;

/** What a tenant kept on a disk is not replaced without a word: neither by an empty one, nor by a copy that comes in. */
const checkDisk = async ({ record, paths }: Vm, { diskRequired, incoming }: LaunchParams): Promise<void> => {
  const { instanceId, state, hasRun } = record;
  if (diskRequired && !incoming && !(await hasDisk(paths)))
    throw new PandoError('IncorrectState', `The disk of ${instanceId} is not on this host any more.`);
  // A start that failed, or was broken off, leaves the disk and another state.
  if (incoming && (state === 'stopped' || hasRun) && (await hasDisk(paths)))
    throw new PandoError(
      'IncorrectState',
      `${instanceId} has a disk here that it ran on: destroy that first.`,
    );
};

/** S1.4: both recorded results must be given, be the ones of this VM, and one must have run on the card (S1.2). */
const checkNetwork = (vm: Vm, { network: given }: LaunchParams): PreparedNetwork => {
  const prepared = vm.record.network;
  const same =
    prepared !== undefined &&
    given.administrative.kind === 'administrative' &&
    given.vpc.kind === 'vpc' &&
    given.administrative.operationId === prepared.administrative.operationId &&
    given.vpc.operationId === prepared.vpc.operationId;
  if (!same)
    throw new PandoError(
      'IncorrectState',
      `${vm.record.instanceId}: the network operations given are not those recorded here.`,
    );
  if (prepared.administrative.ranOn !== 'card' && prepared.vpc.ranOn !== 'card')
    throw new PandoError('IncorrectState', `${vm.record.instanceId}: no network operation ran on the card.`);
  return prepared;
};

const checkImage = async (vm: Vm, { image: wanted, requirement }: LaunchParams): Promise<CachedImage> => {
  const image = await vm.context.images.get(wanted.digest);
  if (image === undefined)
    throw new PandoError('IncorrectState', `Image ${wanted.imageId} is not on this host: ensure it first.`);
  if (requirement.memoryMib < image.manifest.minMemoryMib)
    throw new PandoError(
      'InvalidParameterValue',
      `The image needs ${image.manifest.minMemoryMib} MiB of memory.`,
    );
  return image;
};

const startVmm = async (
  vm: Vm,
  image: CachedImage,
  network: PreparedNetwork,
  incoming: boolean,
): Promise<void> => {
  const { record, paths, context } = vm;
  const { instanceId, uid, requirement } = record;
  if (requirement === undefined) throw new PandoError('IncorrectState', 'A VMM without a requirement.');
  const kvm = context.accelerator === 'kvm';
  const exit = Promise.withResolvers<string>();
  vm.starting(exit.promise);
  await vm.save();
  await makeRunDirs(paths, uid);
  if (incoming) await context.store.discard(paths.disk);
  await ensureDisk(paths, uid, image, requirement);
  // A uid that another VM had here may have been given to this one.
  await context.fence.set(uid, undefined);
  const { vcpus, memoryMib } = requirement;
  const cgroupProcs = await context.cgroups.create(instanceId, { vcpus, memoryMib, kvm });
  const nic = { tap: record.tap, mac: network.port.mac, mtu: network.mtu };
  const args = qemuArgs({
    instanceId,
    accelerator: context.accelerator,
    vcpus,
    memoryMib,
    nic,
    kernel: kernelOf(image),
    incoming,
  });
  const pid = await startJailed(
    {
      ...{
        root: paths.jail,
        runDir: paths.run,
        imageDir: image.dir,
        tlsDir: paths.tls,
        socketsDir: paths.sockets,
      },
      ...{ uid, kvm, cgroupProcs, log: paths.vmmLog },
    },
    args,
    exit.resolve,
  );
  const started = await vm.started(pid);
  context.log.info({ instanceId, pid, incoming }, 'VMM started');
  await vm.attach(started);
};

const kernelOf = ({ manifest }: CachedImage): QemuPlan['kernel'] => {
  const { kernel, initrd } = manifest.files;
  if (manifest.bootMode !== 'direct-kernel' || kernel === undefined) return undefined;
  return { kernel: kernel.path, initrd: initrd?.path, cmdline: manifest.cmdline ?? '' };
};

/** From a VMM that stands still to a guest that runs, or to one that waits for its memory. */
const bringUp = async (vm: Vm, { incoming, peer }: LaunchParams): Promise<LaunchResult> => {
  await wireTap(vm);
  if (incoming) {
    const migration = await openIncoming(vm, peer);
    vm.setState('incoming');
    await vm.save();
    commissionWhenHandedOver(vm);
    return { state: 'incoming', migration };
  }
  await vm.monitor.execute('cont');
  vm.watch.booted();
  vm.setState('running');
  // Written down with the command that this is.
  return { state: 'running' };
};

/** A launch of what runs changes nothing; above all it does not resume a guest that was paused for a reason (S6.5). */
const alreadyUp = async (vm: Vm, { incoming, peer }: LaunchParams): Promise<LaunchResult> => {
  const { state } = vm.record;
  if (incoming && state === 'incoming') return { state, migration: await openIncoming(vm, peer) };
  if (!incoming && state === 'running') return { state };
  throw new PandoError('IncorrectInstanceState', `${vm.record.instanceId} is ${state} here.`);
};
