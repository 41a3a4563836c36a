/** All VMs of this host, and the rule by which commands reach them: fenced, answered once, one at a time for each VM. */
import type { TlsMaterial } from '#base/identity.ts';
import type { Logger } from '#base/log.ts';
import type { Result } from '#base/rpc/contract.ts';
import type { cardContract } from '#contracts/card.ts';
import { PandoError } from '#contracts/errors.ts';
import { type InstanceFence, newerFence, passFence } from '#contracts/fences.ts';
import type { CommandKey, ImageRef, MigrationCredential, VmReport, VmRequirement } from '#contracts/host.ts';
import { exactId } from '#contracts/ids.ts';
import type { Accelerator } from './accelerator.ts';
import { admit } from './admission.ts';
import { adoptVm, removeOrphans } from './adopt.ts';
import { openCgroups } from './cgroup/cgroups.ts';
import { fence, recall, record as recordCommand } from './command-record.ts';
import type { AgentConfig } from './config.ts';
import { trimLogs } from './console-log.ts';
import type { AgentContext } from './context.ts';
import { Discards } from './discards.ts';
import { Fences } from './fences.ts';
import { HostDisk } from './host-disk.ts';
import { ImageCache, type ReadChunk } from './image-cache.ts';
import { ImagePins, imagesInUse } from './image-pins.ts';
import { vmsPerHostMax } from './limits.ts';
import { memoryAvailableMib } from './memory.ts';
import { offerCredential } from './migration/secure.ts';
import { readBootId } from './process.ts';
import { rebuildRecord, runningWithoutDirectory, strangeUids } from './recover.ts';
import { fullIsNoCapacity } from './room.ts';
import type { Write } from './spare-room.ts';
import { tapName } from './tap.ts';
import { Tombstones } from './tombstones.ts';
import { Vm } from './vm.ts';
import type { VmRecord } from './vm-record.ts';
import { VmStore } from './vm-store.ts';
import { VmmFence } from './vmm-fence.ts';

type Underlay = NonNullable<Result<typeof cardContract, 'card.counters'>['underlay']>;

export interface HostParts {
  readonly config: AgentConfig;
  readonly tls: TlsMaterial;
  readonly log: Logger;
  readonly card: AgentContext['card'];
  readonly readImage: ReadChunk;
  readonly accelerator: Accelerator;
  /** Where the agents of targets ask whether a guest was handed over; undefined: nowhere, their cell tells them. */
  readonly handover?: { readonly host: string; readonly port: number } | undefined;
  changed(): void;
  /** A VM that is nobody's but this host's own: nobody is told of it. */
  hides?(instanceId: string): boolean;
}

export class Host {
  readonly #parts: HostParts;
  readonly #context: AgentContext;
  readonly #vms = new Map<string, Vm>();
  readonly #fences: Fences;
  readonly #tombstones: Tombstones;
  readonly #imagePins = new ImagePins();
  readonly disk: HostDisk;
  readonly discards: Discards;
  #underlay: Underlay | undefined;
  /** Of processes that were found and belong to no VM: given to none. */
  #strangeUids: ReadonlySet<number> = new Set();
  #closed = false;

  private constructor(
    parts: HostParts,
    store: VmStore,
    heard: {
      readonly fences: Fences;
      readonly tombstones: Tombstones;
      readonly disk: HostDisk;
      readonly discards: Discards;
    },
    { cgroups, fence, bootId }: Pick<AgentContext, 'cgroups' | 'fence' | 'bootId'>,
  ) {
    this.#parts = parts;
    this.#fences = heard.fences;
    this.#tombstones = heard.tombstones;
    this.disk = heard.disk;
    this.discards = heard.discards;
    const { config, tls, log, card, accelerator, readImage } = parts;
    const images = new ImageCache({
      dir: config.imageCacheDir,
      bytesMax: config.imageCacheBytesMax,
      read: readImage,
      owner: config.hostId,
      inUse: () =>
        imagesInUse(
          config,
          this.vms.map(({ record }) => record),
          this.#imagePins,
        ),
      discard: (path) => store.discard(path),
    });
    const isClosed = (): boolean => this.#closed;
    this.#context = {
      ...{ config, tls, log, store, card, images, cgroups, fence, accelerator, bootId },
      get closed() {
        return isClosed();
      },
      changed: () => parts.changed(),
      admit: (instanceId, wanted) => this.#admit(instanceId, wanted),
    };
  }

  /** Opens the state directory and adopts what runs. */
  static async open(parts: HostParts): Promise<Host> {
    const { config, log } = parts;
    const disk = new HostDisk(config);
    const write: Write = (work) => disk.spare.write(work);
    const discards = new Discards({
      stateDir: config.stateDir,
      failed: (name, err) =>
        log.error(
          { err, name, alarm: 'not-overwritten' },
          'what a VM has left could not be overwritten: it is kept',
        ),
    });
    await write(() => discards.open());
    const store = new VmStore(config.stateDir, write, (path) => discards.take(path));
    const { records, unreadable } = await store.load();
    await disk.spare
      .refill()
      .catch((error: unknown) => log.warn({ err: error }, 'no room is kept for records'));
    const cgroups = await openCgroups(config.cgroupPrefix, config.cgroupRoot);
    if (cgroups.missing.length > 0)
      log.warn({ missing: cgroups.missing }, 'degraded: not all limits can be set here');
    const heard = {
      fences: await Fences.open(config.stateDir, write, (path, err) =>
        log.error(
          { err, path, alarm: 'state-unreadable' },
          'a record of the agent cannot be read: it is put aside, and commands without a generation are no longer refused by it',
        ),
      ),
      tombstones: await Tombstones.open(config.stateDir, undefined, write),
      ...{ disk, discards },
    };
    const fence = await VmmFence.open(config.runPrefix, config.uidBase, records);
    const host = new Host(parts, store, heard, { cgroups, fence, bootId: await readBootId() });
    for (const record of records) host.#vms.set(record.instanceId, new Vm(record, host.#context));
    await host.#recover(unreadable);
    await host.#adopt();
    discards.poke();
    return host;
  }

  get context(): AgentContext {
    return this.#context;
  }

  get vms(): readonly Vm[] {
    return [...this.#vms.values()];
  }

  async #recover(unreadable: readonly string[]): Promise<void> {
    const known = new Set([...this.#vms.keys(), ...unreadable]);
    const homeless = await runningWithoutDirectory(this.#context, known);
    for (const instanceId of [...unreadable, ...homeless]) {
      const taken = new Set(this.vms.map(({ record }) => record.uid));
      const record = await rebuildRecord(this.#context, instanceId, taken);
      this.#vms.set(instanceId, new Vm(record, this.#context));
      this.#parts.log.error(
        { instanceId, uid: record.uid },
        'the record of a VM is missing or cannot be read: it is taken over by what runs; what could not be read is kept as vm.json.unreadable',
      );
    }
  }

  async #adopt(): Promise<void> {
    await this.#context.images.clean();
    await Promise.all(
      this.vms.map(async (vm) => {
        try {
          await adoptVm(vm);
        } catch (error) {
          this.#parts.log.error(
            { err: error, instanceId: vm.record.instanceId },
            'a VM could not be adopted',
          );
        }
      }),
    );
    await removeOrphans(this.#context, this.vms);
    const { config } = this.#context;
    this.#strangeUids = await strangeUids(config, new Set(this.vms.map(({ record }) => record.uid)));
    if (this.#strangeUids.size > 0)
      this.#parts.log.error(
        { uids: [...this.#strangeUids], alarm: 'strange-processes' },
        'processes with uids of VMs belong to no VM of this host: they are left alone, and their uids given to no other',
      );
  }

  find(instanceId: string): Vm | undefined {
    return this.#vms.get(instanceId);
  }

  /** The VM, or `NotFound`. */
  get(instanceId: string): Vm {
    const vm = this.#vms.get(instanceId);
    if (vm === undefined) throw new PandoError('NotFound', `${instanceId} is not on this host.`);
    return vm;
  }

  /** The VM that is commanded, or `NotFound`; a former owner is told that it is one, whether or not there is a VM. */
  commanded(key: CommandKey, instanceId: string, visits = false): Vm {
    this.#fence(key, instanceId, visits);
    return this.get(instanceId);
  }

  /** The VM, made known if it is new here. */
  #getOrCreate(instanceId: string): Vm {
    const known = this.#vms.get(instanceId);
    if (known !== undefined) return known;
    exactId('instance', instanceId);
    if (this.#vms.size >= vmsPerHostMax)
      throw new PandoError('InsufficientInstanceCapacity', `A host takes ${vmsPerHostMax} VMs.`);
    const index = this.#freeIndex();
    const { uidBase, runPrefix } = this.#parts.config;
    const record: VmRecord = {
      instanceId,
      uid: uidBase + index,
      tap: tapName(runPrefix, index),
      state: 'preparing',
      workflows: [],
    };
    const vm = new Vm(record, this.#context);
    this.#vms.set(instanceId, vm);
    return vm;
  }

  #freeIndex(): number {
    const { uidBase } = this.#parts.config;
    const taken = new Set(this.vms.map(({ record }) => record.uid));
    let index = 0;
    while (taken.has(uidBase + index) || this.#strangeUids.has(uidBase + index)) index += 1;
    return index;
  }

  /** What a VM that will move away from here proves itself with. Not recorded as a step: its key is only in this process's memory. */
  offer(key: CommandKey, instanceId: string): Promise<{ peer?: MigrationCredential }> {
    const vm = this.commanded(key, instanceId);
    return vm.queue.run(async () => {
      await this.pass(key, instanceId);
      return this.#parts.config.migrationTls === 'off'
        ? {}
        : { peer: { ...(await offerCredential(vm, key.workflowId)), handover: this.#parts.handover } };
    });
  }

  /** Like {@link command}, on a VM that may be new here. A former owner's command leaves no trace of one. */
  commandNew<T>(key: CommandKey, instanceId: string, run: (vm: Vm) => Promise<T>): Promise<T> {
    this.#fence(key, instanceId);
    if (!this.#vms.has(instanceId)) this.#tombstones.assertRoom(instanceId);
    return this.command(key, this.#getOrCreate(instanceId), run);
  }

  /** What was heard of the instance so far. */
  #heard(instanceId: string): InstanceFence | undefined {
    return newerFence(this.#vms.get(instanceId)?.record.fence, this.#tombstones.of(instanceId));
  }

  /** What is heard of the instance once this command is obeyed; changes nothing. @throws StaleEpoch */
  #fence(key: CommandKey, instanceId: string, visits = false): InstanceFence | undefined {
    const workflows = this.#vms.get(instanceId)?.record.workflows ?? [];
    fence(key, this.#fences.epochOf(key.workflowId));
    fence(key, workflows.find(({ workflowId }) => workflowId === key.workflowId)?.epoch);
    return passFence(this.#heard(instanceId), key, visits);
  }

  /**
   * For what does not run in the VM's queue, or has no VM here: refused, or heard of before it is done, on disk too.
   * Without key or instance (a peer of the last release): nothing is checked.
   */
  async pass(key: CommandKey | undefined, instanceId: string | undefined, visits = false): Promise<void> {
    if (key === undefined || instanceId === undefined) return;
    // While it was written down another may have been heard of.
    if (await this.#hear(key, instanceId, visits)) this.#fence(key, instanceId, visits);
  }

  /** Whether there was anything new in it, which is on disk now. */
  async #hear(key: CommandKey, instanceId: string, visits: boolean): Promise<boolean> {
    const before = this.#heard(instanceId);
    const heard = this.#fence(key, instanceId, visits);
    const vm = this.#vms.get(instanceId);
    // A VM that came back carries what its tombstone says.
    if (vm !== undefined) vm.record.fence = heard;
    if (heard === undefined || heard === before) return false;
    if (vm === undefined) {
      this.#tombstones.assertRoom(instanceId);
      await this.#tombstones.keep(instanceId, heard);
      return true;
    }
    // Of a VM that was never heard of there is no command that could be late, and its first one writes its record anyhow.
    if (before !== undefined || vm.record.workflows.length > 0) await vm.save();
    return true;
  }

  /**
   * Runs a command on a VM: after those before it, once per (workflow, step), never for a former owner. Errors:
   * `StaleEpoch`; `RequestLimitExceeded` when too many wait; `Conflict` when the VM was destroyed meanwhile.
   */
  command<T>(key: CommandKey, vm: Vm, run: (vm: Vm) => Promise<T>): Promise<T> {
    return this.#once(key, vm, run, () => vm.save());
  }

  /** Like {@link command}, for one that does not take the instance (contracts/fences.ts). */
  visit<T>(key: CommandKey, vm: Vm, run: (vm: Vm) => Promise<T>): Promise<T> {
    return this.#once(key, vm, run, () => vm.save(), true);
  }

  /**
   * Like {@link command}, but answered before it is written down: for what a guest's peers wait for, and only where the VMM
   * itself says that it was done, so that a new agent that is asked again does not do it twice.
   */
  urgent<T>(key: CommandKey, vm: Vm, run: (vm: Vm) => Promise<T>): Promise<T> {
    const { log } = this.#parts;
    return this.#once(key, vm, run, async () => {
      vm.save().catch((error: unknown) =>
        log.error({ err: error, instanceId: vm.record.instanceId }, 'a command was not written down'),
      );
    });
  }

  #once<T>(
    key: CommandKey,
    vm: Vm,
    run: (vm: Vm) => Promise<T>,
    writeDown: () => Promise<void>,
    visits = false,
  ): Promise<T> {
    return vm.queue.run(async () => {
      this.#fence(key, vm.record.instanceId, visits);
      if (vm.removed) throw new PandoError('Conflict', `${vm.record.instanceId} was destroyed meanwhile.`);
      // Before it is done: an agent that dies in its middle refuses former owners in its next life too.
      await this.pass(key, vm.record.instanceId, visits);
      const done = recall(vm.record.workflows, key);
      // What was recorded is what this same step returned, of this same type.
      if (done !== undefined) return done.result as T;
      const result = await run(vm);
      recordCommand(vm.record.workflows, key, result);
      await writeDown();
      return result;
    });
  }

  /** Like {@link command}, for the one after which there is no VM: the epochs are kept first. Unknown VM: only that. */
  async destroy(key: CommandKey, instanceId: string, run: (vm: Vm) => Promise<void>): Promise<void> {
    this.#fence(key, instanceId);
    this.#imagePins.unpin(instanceId);
    const vm = this.#vms.get(instanceId);
    if (vm === undefined) {
      await this.pass(key, instanceId);
      await this.#fences.keep([key]);
      return;
    }
    await vm.queue.run(async () => {
      if (vm.removed) return;
      const heard = this.#fence(key, instanceId);
      await Promise.all([
        this.#fences.keep([...vm.record.workflows, key]),
        heard && this.#tombstones.keep(instanceId, heard),
      ]);
      await run(vm);
      this.#vms.delete(instanceId);
      this.#parts.changed();
    });
  }

  /**
   * Makes an image present and keeps it for this VM. Present is present: it is not recorded as a step, and it makes no VM known
   * here, so that a launch which ends at this point leaves nothing (S1.12).
   */
  async ensureImage(
    key: CommandKey,
    instanceId: string,
    { digest }: ImageRef,
  ): Promise<{ fetched: boolean }> {
    exactId('instance', instanceId);
    const heard = this.#fence(key, instanceId);
    if (this.#heard(instanceId) !== undefined) await this.pass(key, instanceId);
    else if (heard !== undefined) {
      // Late it makes an image present, and no VM: it need not be on disk.
      this.#tombstones.assertRoom(instanceId);
      this.#tombstones.note(instanceId, heard);
    }
    this.#fences.note([key]);
    // Before it is fetched, so that nobody evicts it between here and the launch.
    this.#imagePins.pin(instanceId, digest);
    return { fetched: await fullIsNoCapacity(() => this.#context.images.ensure(digest)) };
  }

  /** Memory and disk are measured first: from the check to the claim nothing may come between. */
  async #admit(instanceId: string, wanted: VmRequirement): Promise<void> {
    const availableMib = await memoryAvailableMib(this.#context.cgroups);
    const measured = new Map<Vm, number>();
    for (const vm of this.vms) measured.set(vm, await vm.residentMib());
    const assertDisk = await this.disk.measure(this.find(instanceId), wanted, () => this.vms);
    const others = this.vms
      .filter(({ record }) => record.instanceId !== instanceId)
      .map((vm) => ({ ...vm.record, residentMib: measured.get(vm) ?? 0 }));
    admit(wanted, { others, capacityMib: this.#parts.config.capacity.memoryMib, availableMib });
    assertDisk();
    const vm = this.get(instanceId);
    vm.record.requirement = wanted;
    vm.setState('preparing');
  }

  /** What is told of this host's size: declared, and of the disk what there really is. */
  async capacity(): Promise<AgentConfig['capacity']> {
    const { capacity } = this.#parts.config;
    const networkMbps = capacity.networkMbps ?? this.#underlay?.speedMbps;
    return { ...capacity, diskMib: await this.disk.capacityMib(this.vms), networkMbps };
  }

  /** What the device of the underlay has carried, as the card said last; undefined: it does not tell. */
  get underlay(): Underlay | undefined {
    return this.#underlay;
  }

  /** Reports of all VMs, with the traffic that the card counted when it can be asked. */
  async reports(): Promise<VmReport[]> {
    const traffic = await this.#traffic();
    const told = this.vms.filter(({ record }) => this.#parts.hides?.(record.instanceId) !== true);
    return Promise.all(
      told.map(async (vm) => {
        const report = await vm.report();
        return { ...report, ...(report.eniId === undefined ? undefined : traffic.get(report.eniId)) };
      }),
    );
  }

  async #traffic(): Promise<Map<string, { rxBytes: number; txBytes: number }>> {
    const { card, log } = this.#parts;
    this.#underlay = card.status === 'ok' ? this.#underlay : undefined;
    if (card.status !== 'ok') return new Map();
    try {
      const { ports, underlay } = await card.call('card.counters', {});
      this.#underlay = underlay;
      return new Map(ports.map(({ eniId, rxBytes, txBytes }) => [eniId, { rxBytes, txBytes }]));
    } catch (error) {
      log.debug({ err: error }, 'the card did not tell its counters');
      return new Map();
    }
  }

  /**
   * A port was detached on the card directly. Its VM's record forgets it: were it detached once more when the VM is
   * destroyed, the card would stop forwarding for it (S6.6).
   */
  async networkTaken(eniId: string): Promise<void> {
    const vm = this.vms.find(({ record }) => record.network?.port.eniId === eniId);
    if (vm === undefined) return;
    vm.record.network = undefined;
    await vm.save();
  }

  /** Keeps logs bounded. */
  async trim(): Promise<void> {
    for (const vm of this.vms) await trimLogs(vm.paths);
  }

  /** Lets go; VMs run on. */
  close(): void {
    this.#closed = true;
    for (const vm of this.#vms.values()) vm.detach();
  }
}
