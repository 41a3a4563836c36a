/** What cards and gateways share: the VPCs that were declared to this device, adopted again after a restart. */
import type { Logger } from '#base/log.ts';
import { PandoError } from '#contracts/errors.ts';
import type { VpcState } from '#contracts/network.ts';
import { destroyNamespace, listNamespaces } from './kernel/namespace.ts';
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

  /** Takes over what an earlier process left in the kernel: repairs differences, removes namespaces that nobody declared. */
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
      if (!known.has(name)) await destroyNamespace(name);
  }

  /** The VPC, known or not yet. */
  vpc(vpcId: string): Vpc {
    return this.vpcs.get(vpcId) ?? this.#make(vpcId);
  }

  async applyVpc(state: VpcState, from: number | undefined): Promise<{ version: number }> {
    const vpc = this.vpc(state.vpcId);
    return { version: await vpc.serialize(() => vpc.declare(state, from)) };
  }

  /** `assertUnused` throws where it must stay; asked when its turn comes, so that no port is attached in between. */
  async removeVpc(vpcId: string, assertUnused?: (vpc: Vpc) => void): Promise<void> {
    const vpc = this.vpcs.get(vpcId);
    if (vpc === undefined) return;
    await vpc.serialize(async () => {
      assertUnused?.(vpc);
      await vpc.remove();
    });
    // Whoever waits has this one in hand: it stays, so that what is declared to it is not lost.
    if (vpc.idle) this.vpcs.delete(vpcId);
  }

  /** Removes everything of this device from the kernel and forgets it. */
  async teardown(): Promise<void> {
    for (const record of await this.#store.load()) await this.removeVpc(this.vpc(record.vpcId).vpcId);
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
