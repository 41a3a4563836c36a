/** What cards and gateways share: the VPCs that were declared to this device, adopted again after a restart. */
import type { Logger } from '#base/log.ts';
import { PandoError } from '#contracts/errors.ts';
import type { VpcState } from '#contracts/network.ts';
import { destroyNamespace, guestDevices, listNamespaces } from './kernel/namespace.ts';
import { VpcStore } from './store.ts';
import { Vpc, type VpcRole } from './vpc.ts';

export class Device {
  readonly vpcs = new Map<string, Vpc>();
  readonly startedAt = new Date().toISOString();
  readonly role: VpcRole;
  readonly #store: VpcStore;
  readonly #log: Logger;

  constructor(role: VpcRole, stateDir: string, log: Logger) {
    this.role = role;
    this.#store = new VpcStore(stateDir, log);
    this.#log = log;
  }

  /** Takes over what an earlier process left in the kernel: repairs differences, removes namespaces that nobody declared and no VM uses. */
  async adopt(): Promise<void> {
    for (const record of await this.#store.load()) {
      const vpc = this.#make(record.vpcId);
      vpc.restore(record);
      await vpc
        .serialize(() => vpc.adopt())
        .catch((error: unknown) => {
          this.#log.error({ err: error, vpcId: vpc.vpcId }, 'not adopted; the next change tries again');
        });
    }
    const known = new Set([...this.vpcs.values()].map(({ namespace }) => namespace));
    for (const name of await listNamespaces(this.role.namespacePrefix))
      if (!known.has(name)) await this.#adoptUnknown(name);
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

  /** Forgets a VPC that has no ports here; unknown: nothing. @throws Conflict while it has ports: a caller's list may be older than they are. */
  async removeVpc(vpcId: string): Promise<void> {
    const vpc = this.vpcs.get(vpcId);
    if (vpc === undefined) return;
    await vpc.serialize(async () => {
      // Inside the VPC's own queue: a launch that attaches its port meanwhile comes either before this, or after the removal.
      if (vpc.ports.size > 0 || vpc.hasStrangeTaps)
        throw new PandoError('Conflict', `${vpcId} has ports here: it is not removed.`);
      await vpc.remove();
    });
    this.#forget(vpc);
  }

  /** A change that waited behind the removal works on this same object: then it stays known. */
  #forget(vpc: Vpc): void {
    const isEmpty = vpc.state === undefined && vpc.ports.size === 0;
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
    return [...this.vpcs.values()].flatMap(({ vpcId, state }) =>
      state === undefined ? [] : [{ vpcId, version: state.version }],
    );
  }

  #make(vpcId: string): Vpc {
    // It becomes the name of a namespace and of a file.
    if (!/^[A-Za-z0-9-]{1,64}$/.test(vpcId))
      throw new PandoError(
        'InvalidParameterValue',
        `Not the id of a VPC: ${JSON.stringify(vpcId.slice(0, 80))}`,
      );
    const vpc = new Vpc(vpcId, this.role, this.#store, this.#log);
    this.vpcs.set(vpcId, vpc);
    return vpc;
  }
}
