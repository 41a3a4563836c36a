/** What cards and gateways share: the VPCs that were declared to this device, adopted again after a restart. */
import type { Logger } from '#base/log.ts';
import { type Fence, obey } from '#base/network/fence.ts';
import { type NamespaceDifference, previewOf } from '#base/network/kernelPreview.ts';
import type { Objects } from '#base/network/objects.ts';
import { isDeclared, noParts, type VpcParts } from '#base/network/parts.ts';
import {
  describeDevice,
  fleetOf,
  type HasNow,
  type Planned,
  planTransaction,
  takeBack,
  type Undo,
  vpcsOf,
} from '#base/network/transaction.ts';
import { Unconfirmed } from '#base/network/unconfirmed.ts';
import { probeVpcId } from '#contracts/card-probe.ts';
import { PandoError } from '#contracts/errors.ts';
import type { KernelPreview } from '#contracts/kernel-preview.ts';
import type { VpcState } from '#contracts/network.ts';
import type { DeviceObjects, DeviceTransaction, FleetBody } from '#contracts/network-objects.ts';
import { FleetStore } from './fleetStore.ts';
import { destroyNamespace, guestDevices, listNamespaces } from './kernel/namespace.ts';
import type { Switch } from './program/programs.ts';
import { VpcStore } from './store.ts';
import { withoutChanges, withoutLapsed } from './takeBack.ts';
import { Vpc, type VpcRole } from './vpc.ts';

export class Device {
  readonly vpcs = new Map<string, Vpc>();
  readonly startedAt = new Date().toISOString();
  readonly role: VpcRole;
  readonly #store: VpcStore;
  readonly #fleetStore: FleetStore;
  /** The installation's objects, and what they say. */
  #fleet: { readonly objects: Objects; readonly body: FleetBody } = { objects: new Map(), body: {} };
  readonly #unconfirmed: Unconfirmed;
  #fence: Fence | undefined;
  /** Transactions that change the installation's objects happen one after another. */
  #tail: Promise<unknown> = Promise.resolve();
  readonly #log: Logger;

  constructor(role: Omit<VpcRole, 'fleet'>, stateDir: string, log: Logger) {
    this.role = { ...role, fleet: () => this.#fleet.body };
    this.#fleetStore = new FleetStore(stateDir, log);
    this.#unconfirmed = new Unconfirmed((transactionId, undo) => this.#lapse(transactionId, undo));
    this.#store = new VpcStore(stateDir, log);
    this.#log = log;
  }

  /** Takes over what an earlier process left in the kernel: repairs differences, removes namespaces that nobody declared and no VM uses. */
  async adopt(): Promise<void> {
    const { objects, unconfirmed, fence } = await this.#fleetStore.load();
    this.#fence = fence;
    // What nobody had confirmed when the process ended is taken back before the kernel is compared with anything: all but what made it end.
    const { trial } = this.role.programs ?? {};
    const lapsed = unconfirmed.filter(({ transactionId }) => transactionId !== trial?.transactionId);
    for (const each of unconfirmed)
      if (trial !== undefined && !lapsed.includes(each))
        this.#unconfirmed.wait(each.transactionId, each.undo, trial.leftMs);
    const undo = lapsed.flatMap((each) => each.undo);
    const ownUndo = undo.filter(({ vpcId }) => vpcId === undefined);
    this.#setFleet(takeBack(objects, ownUndo));
    await this.role.underlay
      ?.settle(this.#fleet.body)
      .catch((err: unknown) => this.#log.error({ err }, 'the underlay was not made what the settings say'));
    for (const record of await this.#store.load()) {
      const vpc = this.#make(record.vpcId);
      vpc.restore({ ...record, parts: withoutLapsed(record, undo, this.#log) });
      await vpc
        .serialize(() => vpc.adopt())
        .catch((error: unknown) => {
          this.#log.error({ err: error, vpcId: vpc.vpcId }, 'not adopted; the next change tries again');
        });
    }
    if (lapsed.length > 0) {
      this.#log.warn({ unconfirmed: lapsed.map(({ transactionId }) => transactionId) }, takenBack);
      await this.#saveFleet();
    }
    const known = new Set([...this.vpcs.values()].map(({ namespace }) => namespace));
    for (const name of await listNamespaces(this.role.namespacePrefix))
      if (!known.has(name)) await this.#adoptUnknown(name);
    await this.#becomeWanted();
  }

  /** A version that the settings name and that does not run: the file was lost, or the process ended in the middle of a change. */
  async #becomeWanted(): Promise<void> {
    try {
      const next = this.role.programs?.switchTo(this.#fleet.body.cardProgram, {});
      if (next !== undefined) await this.#switch(next, []);
    } catch (err) {
      this.#log.error({ err }, 'the version of the program that is to run does not');
    }
  }

  /** Ends this process; the next one is the other version. `undo`: what its failure takes back. */
  async #switch(next: Switch, undo: readonly Undo[], givenUp?: string): Promise<void> {
    if (next.byAgent && next.transactionId !== undefined)
      this.#unconfirmed.wait(next.transactionId, undo, next.withinMs);
    await this.#saveFleet();
    this.#log.warn({ version: next.version }, 'this process ends: another version of the program is to run');
    this.role.programs?.become(next, givenUp);
  }

  /** Its agent has a stream to this process: what no rollout confirms is settled by that. */
  reached(): void {
    const { trial } = this.role.programs ?? {};
    if (trial?.byAgent !== true || !this.#unconfirmed.has(trial.transactionId)) return;
    this.confirm(trial.transactionId).catch((err: unknown) =>
      this.#log.error({ err }, 'the version of the program that runs was not settled'),
    );
  }

  /** A missing record is no proof that nobody needs the namespace: one with taps in it carries the packets of VMs that run. */
  async #adoptUnknown(namespace: string): Promise<void> {
    const taps = this.role.hasGuests ? await guestDevices(namespace) : [];
    if (taps.length === 0) return destroyNamespace(namespace);
    const vpc = this.#make(namespace.slice(this.role.namespacePrefix.length));
    vpc.hasStrangeTaps = true;
    this.#log.error(
      { namespace, taps },
      'a namespace without a record has taps of VMs: it is left as it is until its VPC and ports are declared again',
    );
  }

  /** The VPC, known or not yet. */
  vpc(vpcId: string): Vpc {
    return this.vpcs.get(vpcId) ?? this.#make(vpcId);
  }

  async applyVpc(state: VpcState, from: number | undefined): Promise<{ version: number }> {
    const vpc = this.vpc(state.vpcId);
    return { version: await vpc.serialize(() => vpc.declare(state, from)) };
  }

  /** What this device has, of these VPCs or of all. */
  objects(vpcIds?: readonly string[]): DeviceObjects {
    const asked = vpcIds === undefined ? undefined : new Set(vpcIds);
    const vpcs = [...this.vpcs.values()].map(({ parts }) => parts);
    return describeDevice(
      this.#fleet.objects,
      vpcs.filter(
        ({ vpcId, objects }) => objects.size > 0 && vpcId !== probeVpcId && asked?.has(vpcId) !== false,
      ),
    );
  }

  /** From first states to second ones, all or nothing: a kernel that does not take one of them gets back what it had. */
  async transact(transaction: DeviceTransaction): Promise<DeviceObjects> {
    if (!isFleetwide(transaction))
      return this.#inQueues(vpcsOf(transaction), () => this.#carryOut(transaction, []));
    const result = this.#tail.then(() => {
      const all = [...new Set([...this.vpcs.keys(), ...vpcsOf(transaction)])];
      return this.#inQueues(all, () => this.#carryOut(transaction, all));
    });
    this.#tail = result.catch(() => undefined);
    return result;
  }

  /**
   * What the transaction would change in the kernel, worked out as the change itself would be; nothing is touched. Waits for nobody: what is
   * under way meanwhile may already be in it. @throws as {@link transact} does, for what it would refuse
   */
  async preview(transaction: DeviceTransaction): Promise<KernelPreview> {
    this.#unconfirmed.check(transaction);
    // Without the fence: to show is not to command.
    const { fence: _, ...rest } = transaction;
    const before = this.#fleet;
    const known = (vpcId: string): Vpc | undefined => this.vpcs.get(vpcId);
    const planned = planTransaction(
      {
        fleet: before.objects,
        parts: (vpcId) => known(vpcId)?.parts ?? noParts(checkedId(vpcId)),
        attached: (vpcId) => [...(known(vpcId)?.ports.values() ?? [])].map(({ port }) => port),
      },
      rest,
    );
    const fleet = fleetOf(planned.fleet);
    const found: NamespaceDifference[] = [];
    if (planned.fleet !== before.objects)
      found.push({ vpcId: undefined, lines: (await this.role.underlay?.preview(before.body, fleet)) ?? [] });
    for (const vpc of this.vpcs.values()) {
      const isMeant = planned.vpcs.has(vpc.vpcId) || planned.fleet !== before.objects;
      if (!isMeant || vpc.vpcId === probeVpcId) continue;
      found.push({ vpcId: vpc.vpcId, lines: vpc.preview(planned.vpcs.get(vpc.vpcId) ?? vpc.parts, fleet) });
    }
    return previewOf(found);
  }

  /** The transaction stays. @throws NotFound, StaleEpoch */
  async confirm(transactionId: string, fence?: DeviceTransaction['fence']): Promise<void> {
    this.#fence = obey(this.#fence, fence);
    this.#unconfirmed.confirm(transactionId);
    this.role.programs?.settle(transactionId);
    await this.#saveFleet();
  }

  /** Work in the queues of several VPCs at once; taken in one order, so that two of them do not wait for each other. */
  #inQueues<T>(vpcIds: readonly string[], work: () => Promise<T>): Promise<T> {
    const vpcs = [...vpcIds].sort().map((vpcId) => this.vpc(vpcId));
    const nested = vpcs.reduceRight<() => Promise<T>>((inner, vpc) => () => vpc.serialize(inner), work);
    return nested().finally(() => {
      for (const vpc of vpcs) if (this.vpcs.get(vpc.vpcId) === vpc) this.#forget(vpc);
    });
  }

  async #carryOut(transaction: DeviceTransaction, alsoVpcIds: readonly string[]): Promise<DeviceObjects> {
    const { transactionId, confirmWithinMs } = transaction;
    this.#fence = obey(this.#fence, transaction.fence);
    const takesBack = this.#unconfirmed.check(transaction);
    const isRepeated = this.#unconfirmed.has(transactionId);
    const planned = planTransaction(this.#hasNow, transaction);
    const next = isFleetwide(transaction)
      ? this.role.programs?.switchTo(fleetOf(planned.fleet).cardProgram, transaction)
      : undefined;
    if (isFleetwide(transaction)) await this.#readBack(transaction, alsoVpcIds);
    if (transactionId !== undefined && confirmWithinMs !== undefined) {
      this.#unconfirmed.wait(transactionId, planned.undo, confirmWithinMs);
      // Written first: a process that dies in between finds what to take back.
      await this.#saveFleet();
    }
    try {
      await this.#become(planned, alsoVpcIds);
    } catch (error) {
      if (transactionId !== undefined && !isRepeated) this.#unconfirmed.drop(transactionId);
      await this.#saveFleet();
      throw error;
    }
    for (const each of takesBack) this.#unconfirmed.drop(each);
    // No answer: who asks hears it from the version that then runs.
    if (next !== undefined) await this.#switch(next, planned.undo);
    // Whoever is refused later must be so by the next life of this process too.
    if (transaction.fence !== undefined) await this.#saveFleet();
    return describeDevice(planned.fleet, planned.vpcs.values());
  }

  /**
   * On the way there, a kernel that somebody has changed by hand refuses like any other first state that is not the expected one. On the
   * way back it is mended: to be back counts for more.
   */
  async #readBack({ confirmWithinMs, fence }: DeviceTransaction, vpcIds: readonly string[]): Promise<void> {
    const vpcs = vpcIds.map((vpcId) => this.vpc(vpcId));
    if (fence === undefined) return;
    if (confirmWithinMs === undefined) for (const vpc of vpcs) vpc.doubt();
    else {
      const found = await Promise.all([this.role.underlay?.drift(), ...vpcs.map((vpc) => vpc.drift())]);
      const drift = found.find((each) => each !== undefined);
      if (drift === undefined) return;
      const has = { ...this.objects([]).objects[0], drift };
      throw new PandoError('Conflict', `The kernel is not as it was left: ${drift}`, {
        details: { has: JSON.stringify(has) },
      });
    }
  }

  get #hasNow(): HasNow {
    return {
      fleet: this.#fleet.objects,
      parts: (vpcId) => this.vpc(vpcId).parts,
      attached: (vpcId) => [...this.vpc(vpcId).ports.values()].map(({ port }) => port),
    };
  }

  async #become(
    { fleet, vpcs }: Pick<Planned, 'fleet' | 'vpcs'>,
    alsoVpcIds: readonly string[],
  ): Promise<void> {
    const before = this.#fleet;
    const isNew = fleet !== before.objects;
    if (isNew) this.#setFleet(fleet);
    const done: [Vpc, VpcParts][] = [];
    try {
      if (isNew) await this.role.underlay?.settle(this.#fleet.body);
      for (const vpcId of new Set([...vpcs.keys(), ...(isNew ? alsoVpcIds : [])])) {
        const vpc = this.vpc(vpcId);
        done.push([vpc, vpc.parts]);
        await vpc.become(vpcs.get(vpcId) ?? vpc.parts, { anyway: isNew });
      }
    } catch (error) {
      this.#fleet = before;
      if (isNew)
        await this.role.underlay
          ?.settle(before.body)
          .catch((err: unknown) => this.#log.error({ err }, 'the underlay was not put back'));
      for (const [vpc, parts] of done.reverse())
        await vpc
          .become(parts, { anyway: true })
          .catch((err: unknown) =>
            this.#log.error({ err, vpcId: vpc.vpcId }, 'not put back; the next change tries again'),
          );
      throw error;
    }
    if (isNew) await this.#saveFleet();
  }

  /** Nobody confirmed it in time. */
  #lapse(transactionId: string, undo: readonly Undo[]): void {
    this.#log.warn({ transactionId }, takenBack);
    const all = (): string[] => [
      ...new Set([...this.vpcs.keys(), ...undo.flatMap(({ vpcId }) => vpcId ?? [])]),
    ];
    const result = this.#tail.then(() => {
      const vpcIds = all();
      return this.#inQueues(vpcIds, async () => {
        const fleet = takeBack(
          this.#fleet.objects,
          undo.filter(({ vpcId }) => vpcId === undefined),
        );
        const vpcs = vpcIds.map((vpcId): [string, VpcParts] => [
          vpcId,
          withoutChanges(this.vpc(vpcId).parts, undo),
        ]);
        await this.#become({ fleet, vpcs: new Map(vpcs) }, vpcIds);
        const next = this.role.programs?.switchTo(this.#fleet.body.cardProgram, {});
        if (next !== undefined) await this.#switch(next, [], 'it was not confirmed in time');
        await this.#saveFleet();
      });
    });
    this.#tail = result.catch((err: unknown) =>
      this.#log.error({ err, transactionId }, 'a transaction that nobody confirmed was not taken back'),
    );
  }

  #setFleet(objects: Objects): void {
    this.#fleet = { objects, body: fleetOf(objects) };
  }

  #saveFleet(): Promise<void> {
    const unconfirmed = this.#unconfirmed.all().map(([transactionId, undo]) => ({ transactionId, undo }));
    return this.#fleetStore.save({ objects: this.#fleet.objects, unconfirmed, fence: this.#fence });
  }

  /** Forgets a VPC that has no ports here; unknown: nothing. @throws Conflict while it has ports (a caller's list may be older than they are), or forwards */
  async removeVpc(vpcId: string): Promise<void> {
    const vpc = this.vpcs.get(vpcId);
    if (vpc === undefined) return;
    await vpc.serialize(async () => {
      // Inside the VPC's own queue: a launch that attaches its port meanwhile comes either before this, or after the removal.
      if (vpc.ports.size > 0 || vpc.hasStrangeTaps)
        throw new PandoError('Conflict', `${vpcId} has ports here: it is not removed.`);
      if (this.role.forwards?.(vpc) === true)
        throw new PandoError(
          'Conflict',
          `${vpcId} is kept here for what still comes for a port that has moved away.`,
        );
      await vpc.remove();
    });
    this.#forget(vpc);
  }

  /** A change that waited behind the removal works on this same object: then it stays known. */
  #forget(vpc: Vpc): void {
    const isEmpty = vpc.parts.objects.size === 0 && vpc.ports.size === 0 && vpc.metadata.size === 0;
    if (vpc.isIdle && isEmpty) this.vpcs.delete(vpc.vpcId);
  }

  /** Removes everything of this device from the kernel and forgets it. */
  async teardown(): Promise<void> {
    for (const record of await this.#store.load()) {
      const vpc = this.vpc(record.vpcId);
      await vpc.serialize(() => vpc.remove());
      this.#forget(vpc);
    }
    for (const name of await listNamespaces(this.role.namespacePrefix)) await destroyNamespace(name);
  }

  versions(): { vpcId: string; version: number }[] {
    return [...this.vpcs.values()]
      .filter(({ vpcId, parts }) => vpcId !== probeVpcId && isDeclared(parts))
      .map(({ vpcId, parts }) => ({ vpcId, version: parts.places.version }));
  }

  #make(vpcId: string): Vpc {
    const vpc = new Vpc(checkedId(vpcId), this.role, this.#store, this.#log);
    this.vpcs.set(vpcId, vpc);
    return vpc;
  }
}

/** It becomes the name of a namespace and of a file. */
const checkedId = (vpcId: string): string => {
  if (!/^[A-Za-z0-9-]{1,64}$/.test(vpcId))
    throw new PandoError(
      'InvalidParameterValue',
      `Not the id of a VPC: ${JSON.stringify(vpcId.slice(0, 80))}`,
    );
  return vpcId;
};

const isFleetwide = ({ objects }: DeviceTransaction): boolean =>
  objects.some(({ vpcId }) => vpcId === undefined);

const takenBack = 'what nobody confirmed in time is taken back';
