/** One VPC on one device: its declared state, its local ports, and the kernel kept equal to both. */

import type { Logger } from '#base/log.ts';
import { isDeclared, noParts, partsOf, stateOf, type VpcParts } from '#base/network/parts.ts';
import { PandoError } from '#contracts/errors.ts';
import type { VmMetadata, VpcState } from '#contracts/network.ts';
import type { FleetBody } from '#contracts/network-objects.ts';
import { driftOf } from './kernel/drift.ts';
import { readImported } from './kernel/imported.ts';
import { lossOf } from './kernel/loss.ts';
import {
  applyPlan,
  createNamespace,
  destroyNamespace,
  guestDevices,
  namespaceExists,
  runInside,
} from './kernel/namespace.ts';
import { readKernel } from './kernel/read.ts';
import { forgetFlows, forgetImported } from './kernel/tracking.ts';
import { overlayDevice } from './limits.ts';
import { type Holders, movedFlows } from './model/holders.ts';
import { kernelDiff } from './model/kernelDiff.ts';
import { emptyModel, type Model } from './model/model.ts';
import type { LocalPort } from './model/place.ts';
import { isEmptyPlan, plan, replaceFirewall } from './model/plan.ts';
import { underFleet } from './model/underFleet.ts';
import { removePlugs } from './plugs.ts';
import type { Programs } from './program/programs.ts';
import type { VpcRecord, VpcStore } from './store.ts';
import type { Underlay } from './underlay.ts';

/** What differs between a card and a gateway. */
export interface VpcRole {
  readonly vtep: string;
  readonly namespacePrefix: string;
  /** Whether VMs are wired into the namespaces of this device. */
  readonly hasGuests: boolean;
  /** The installation's settings, as this device holds them. */
  fleet(): FleetBody;
  /** What the kernel should hold for this state under these settings; undefined: no namespace is needed here. */
  desired(vpc: Vpc, state: VpcState | undefined, fleet: FleetBody): Model | undefined;
  /** Who holds which address, of a VPC that has been declared. */
  holders(vpc: Vpc, state: VpcState): Holders;
  /** After a namespace was made or found again: sockets, cables. Idempotent. */
  opened(vpc: Vpc): Promise<void>;
  /** Whether packets may still come for a port that has moved away: then the namespace stays. */
  forwards?(vpc: Vpc): boolean;
  /** After the kernel was made what it should be: whoever tells guests about it is told. */
  changed?(vpc: Vpc): void;
  /** Before a namespace is removed. */
  closing(vpc: Vpc): Promise<void>;
  /** What the installation's settings say of the device's own network namespace. */
  readonly underlay?: Pick<Underlay, 'settle' | 'drift' | 'preview'> | undefined;
  /** Versions of its program; absent: it has the one. */
  readonly programs?: Pick<Programs, 'switchTo' | 'become' | 'settle' | 'trial'> | undefined;
}

export class Vpc {
  readonly vpcId: string;
  readonly namespace: string;
  readonly ports = new Map<string, LocalPort>();
  readonly forwards = new Map<string, string>();
  readonly metadata = new Map<string, VmMetadata>();
  /** What has been declared, in parts. */
  parts: VpcParts;
  #state:
    | { readonly of: VpcParts; readonly fleet: FleetBody; readonly state: VpcState | undefined }
    | undefined;
  /** The namespace was found with taps that no record explains: it is never closed for want of known ports. */
  hasStrangeTaps = false;
  readonly #role: VpcRole;
  readonly #store: VpcStore;
  readonly #log: Logger;
  /** What the kernel is known to hold; undefined: not known (a new process, a failed batch), so it is read. */
  #applied: Model | undefined;
  /** Whose flows are tracked in the namespace; undefined: not known, or a new namespace, in which none are. */
  #holders: Holders | undefined;
  /** The firewall may let flows in that a migration brought along. */
  #mayHaveImported = false;
  #open = false;
  /** The namespace was found gone, and has not been made anew since. */
  #vanished = false;
  /** undefined: as an earlier process left it. */
  #offloads: boolean | undefined;
  #tail: Promise<unknown> = Promise.resolve();
  #queued = 0;

  constructor(vpcId: string, role: VpcRole, store: VpcStore, log: Logger) {
    this.vpcId = vpcId;
    this.parts = noParts(vpcId);
    this.namespace = `${role.namespacePrefix}${vpcId}`;
    this.#role = role;
    this.#store = store;
    this.#log = log.child({ vpcId });
  }

  /** What has been declared, as a whole, under the installation's settings; undefined: not declared. */
  get state(): VpcState | undefined {
    const { parts } = this;
    const fleet = this.#role.fleet();
    if (this.#state?.of !== parts || this.#state.fleet !== fleet) {
      const state = stateOf(parts);
      this.#state = { of: parts, fleet, state: state && underFleet(state, fleet) };
    }
    return this.#state.state;
  }

  /** Whether the namespace exists here as far as this process knows. */
  get isOpen(): boolean {
    return this.#open;
  }

  /** Changes of one VPC happen one after another, in the order of asking. */
  serialize<T>(work: () => Promise<T>): Promise<T> {
    this.#queued += 1;
    const result = this.#tail.then(work).finally(() => {
      this.#queued -= 1;
    });
    this.#tail = result.catch(() => undefined);
    return result;
  }

  /** Whether no change is under way or waits. */
  get isIdle(): boolean {
    return this.#queued === 0;
  }

  restore(record: VpcRecord): void {
    this.parts = record.parts;
    for (const port of record.ports) this.ports.set(port.port.eniId, port);
    for (const [eniId, vtep] of record.forwards) this.forwards.set(eniId, vtep);
    for (const [eniId, metadata] of record.metadata) this.metadata.set(eniId, metadata);
    this.#holders = this.#holdersNow();
    this.#mayHaveImported = true;
  }

  /** To be called before flows are let in, inside `serialize`. */
  importsFlows(): void {
    this.#mayHaveImported = true;
  }

  /** After a restart: sees which taps are there, then repairs what differs. Inside `serialize`. */
  async adopt(): Promise<void> {
    const exists = await namespaceExists(this.namespace);
    if (exists) await removePlugs(this.namespace);
    this.#seeTaps(exists ? (await readKernel(this.namespace)).devices : []);
    if (!exists) this.forwards.clear();
    await this.converge();
  }

  #seeTaps(devices: readonly string[]): void {
    for (const [eniId, local] of this.ports) {
      if (local.wired && !devices.includes(local.tap))
        this.#log.warn({ eniId, tap: local.tap }, 'the tap is gone');
      this.ports.set(eniId, { ...local, wired: devices.includes(local.tap) });
    }
  }

  /** What the kernel lacks of what was put there; undefined: nothing, or a change is under way. Waits for nobody, nobody waits for it. */
  async loss(): Promise<string | undefined> {
    if (!this.isIdle) return undefined;
    if (!this.#open) return this.#vanished ? 'the namespace' : undefined;
    const applied = this.#applied;
    if (applied === undefined) return 'the last change did not come through';
    const lost = (await namespaceExists(this.namespace))
      ? await lossOf(this.namespace, applied)
      : 'the namespace';
    return this.isIdle && this.#applied === applied ? lost : undefined;
  }

  /** Reads the kernel, and makes it what it should be. Inside `serialize`. */
  async mend(): Promise<void> {
    if (!this.#open && !this.#vanished) return;
    const exists = await namespaceExists(this.namespace);
    if (!exists) {
      this.#vanished = true;
      // Its tools may still stand in the namespace that has lost its name, whose overlay device keeps the network id taken.
      await runInside(this.namespace, `ip link del dev ${overlayDevice}\n`).catch(() => undefined);
      await this.#close();
    }
    this.#seeTaps(exists ? (await readKernel(this.namespace)).devices : []);
    if (exists) this.#applied = undefined;
    await this.converge();
    this.#vanished = false;
  }

  /**
   * Takes a newer declared state. Older: StaleEpoch. Equal: nothing. `from` differs from what is here: Conflict (drift, S8.2).
   * To be called inside `serialize`.
   */
  async declare(next: VpcState, from: number | undefined): Promise<number> {
    const { version } = this.parts.places;
    const isSame = version === next.version && isDeclared(this.parts);
    if (next.version < version)
      throw new PandoError('StaleEpoch', `${this.vpcId} is at version ${version} here, not ${next.version}.`);
    if (from !== undefined && from !== version && !isSame)
      throw new PandoError('Conflict', `${this.vpcId} is at version ${version} here, not ${from}.`);
    await this.become(isSame ? this.parts : partsOf(next, this.parts));
    return next.version;
  }

  /**
   * Takes other parts; the kernel has them when this resolves, or those of before when it fails. `anyway`: also when the parts are the
   * same, as the installation's settings are others. To be called inside `serialize`.
   *
   * @throws Conflict: ports are attached here, and without the VPC's settings they would be cut off
   */
  async become(parts: VpcParts, { anyway = false } = {}): Promise<void> {
    const before = this.parts;
    if (parts === before && this.#applied !== undefined && !anyway) return;
    const isInUse = this.ports.size > 0 || this.hasStrangeTaps;
    if (isDeclared(before) && !isDeclared(parts) && isInUse)
      throw new PandoError('Conflict', `${this.vpcId} has ports here: it stays declared.`);
    this.parts = parts;
    try {
      await this.converge();
    } catch (error) {
      this.parts = before;
      throw error;
    }
  }

  /** What somebody else has changed in the kernel; undefined: nothing, as far as this process knows what it put there. */
  async drift(): Promise<string | undefined> {
    return this.#open && this.#applied !== undefined ? driftOf(this.namespace, this.#applied) : undefined;
  }

  /** What other parts under other settings would change in the kernel; nothing is touched. */
  preview(parts: VpcParts, fleet: FleetBody): string[] {
    const state = stateOf(parts);
    const after = this.#role.desired(this, state && underFleet(state, fleet), fleet);
    if (after === undefined && this.hasStrangeTaps) return [];
    return kernelDiff(this.#open ? this.#appliedOrDesired() : undefined, after);
  }

  /** Where the last change did not come through, what the next one makes of it is what counts. */
  #appliedOrDesired(): Model | undefined {
    return this.#applied ?? this.#role.desired(this, this.state, this.#role.fleet());
  }

  /** Routes, neighbours and state of a device go with it: another one that has taken its name has none of them. */
  deviceCameIn(device: string): void {
    if (this.#applied?.links.has(device)) this.doubt();
  }

  /** The next change reads the kernel first and mends all of it. */
  doubt(): void {
    this.#applied = undefined;
  }

  /** Makes the kernel what it should be, then remembers. Inside `serialize`. */
  async converge(): Promise<void> {
    await this.apply();
    await this.save();
  }

  /** Makes the kernel what it should be; the caller sees to it that it is remembered. Inside `serialize`. */
  async apply(): Promise<void> {
    const after = this.#role.desired(this, this.state, this.#role.fleet());
    try {
      if (after !== undefined) await this.#change(after);
      // Ports without a declaration: what is in the kernel carries the packets of VMs, and stays until one comes.
      else if (this.ports.size === 0 && !(await this.#servesStrangers())) await this.#close();
      await this.#forgetMoved();
      this.#role.changed?.(this);
    } catch (error) {
      this.#applied = undefined;
      throw error;
    }
  }

  save(): Promise<void> {
    return this.#store.save({
      vpcId: this.vpcId,
      parts: this.parts,
      ports: [...this.ports.values()],
      forwards: [...this.forwards],
      metadata: [...this.metadata],
    });
  }

  /** Makes the namespace if it is not there, so that taps can be moved in. Inside `serialize`. */
  async ensureOpen(): Promise<void> {
    if (this.#open) return;
    const { state } = this;
    if (state === undefined)
      throw new PandoError('InvalidVpcID.NotFound', `${this.vpcId} has not been declared to this device.`);
    if (!(await namespaceExists(this.namespace))) {
      await createNamespace(this.namespace, state.vni, this.#role.vtep);
      this.#applied = emptyModel;
      this.#holders = undefined;
      this.#offloads = true;
    }
    await this.#role.opened(this);
    this.#open = true;
  }

  /** Whether checksums and segmentation are left to whatever comes after the overlay device. Inside `serialize`. */
  async setOverlayOffloads(on: boolean): Promise<void> {
    if (!this.#open || this.#offloads === on) return;
    await runInside(
      this.namespace,
      `ethtool -K ${overlayDevice} tx ${on ? 'on' : 'off'} gso ${on ? 'on' : 'off'} >&2\n`,
    );
    this.#offloads = on;
  }

  /** Forgets the VPC and removes everything of it. Inside `serialize`. */
  async remove(): Promise<void> {
    await this.#close();
    await this.#store.remove(this.vpcId);
    // What waits behind this must not go on with a state that the device has forgotten.
    this.parts = noParts(this.vpcId);
    this.hasStrangeTaps = false;
    for (const entries of [this.ports, this.forwards, this.metadata]) entries.clear();
  }

  async #servesStrangers(): Promise<boolean> {
    if (this.hasStrangeTaps) this.hasStrangeTaps = (await guestDevices(this.namespace)).length > 0;
    return this.hasStrangeTaps;
  }

  async #close(): Promise<void> {
    await this.#role.closing(this);
    this.#open = false;
    await destroyNamespace(this.namespace);
    this.#applied = emptyModel;
    this.#holders = undefined;
    this.#mayHaveImported = false;
  }

  /**
   * After the kernel has the new places and rules: flows of addresses that changed hands go. If that fails, the change fails, and the next
   * one still knows who held them.
   */
  async #forgetMoved(): Promise<void> {
    const { state } = this;
    if (!this.#open || state === undefined) return;
    const after = this.#holdersNow();
    if (this.#holders !== undefined && after !== undefined) {
      const moved = movedFlows(this.#holders, after);
      if (this.#mayHaveImported) this.#mayHaveImported = await forgetImported(this.namespace, moved);
      await forgetFlows(this.namespace, moved, state.cidrs, this.#log);
    }
    this.#holders = after;
  }

  #holdersNow(): Holders | undefined {
    const { state } = this;
    return state === undefined ? undefined : this.#role.holders(this, state);
  }

  async #change(after: Model): Promise<void> {
    await this.ensureOpen();
    if (this.#applied === undefined) return this.#repair(after);
    const steps = plan(this.#applied, after);
    if (!isEmptyPlan(steps)) await applyPlan(this.namespace, steps);
    this.#applied = after;
  }

  /** Reads what is there and changes only what differs; the firewall is exchanged in one transaction. */
  async #repair(after: Model): Promise<void> {
    const { model, tables } = await readKernel(this.namespace);
    const steps = plan({ ...model, sets: after.sets, chains: after.chains }, after);
    const imported = await readImported(this.namespace);
    const nft = replaceFirewall(tables, after, imported);
    await applyPlan(this.namespace, { ...steps, nft });
    this.#log.info({ changes: Object.values(steps).flat().length }, 'kernel state re-adopted');
    this.#applied = after;
  }
}
