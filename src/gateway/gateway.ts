/** The internet gateway of a region: VPCs that have one attached here, and the public addresses of their ports. */
import type { Logger } from '#base/log.ts';
import { Device } from '#card/device.ts';
import { gatewayHolders } from '#card/model/holders.ts';
import type { Model } from '#card/model/model.ts';
import type { Vpc } from '#card/vpc.ts';
import type { VpcState } from '#contracts/network.ts';
import type { DeviceObjects, DeviceTransaction } from '#contracts/network-objects.ts';
import { cableName, cutCable, layCable } from './cable.ts';
import { desiredOnGateway, publicPorts } from './desired.ts';
import { PublicRoutes } from './mainNamespace.ts';

export interface GatewayOptions {
  readonly vtep: string;
  readonly namespacePrefix: string;
  readonly stateDir: string;
  readonly denied: readonly string[];
  readonly log: Logger;
}

export class Gateway {
  readonly device: Device;
  readonly #vtep: string;
  readonly #publicRoutes = new PublicRoutes();
  #routing: Promise<void> = Promise.resolve();

  constructor({ vtep, namespacePrefix, stateDir, denied, log }: GatewayOptions) {
    this.#vtep = vtep;
    this.device = new Device(
      {
        vtep,
        namespacePrefix,
        hasGuests: false,
        desired: (_vpc, state): Model | undefined =>
          this.#isHere(state) ? desiredOnGateway(state, vtep, denied) : undefined,
        holders: (_vpc, state) => gatewayHolders(state),
        opened: async (vpc) => {
          if (vpc.state !== undefined) await layCable(vpc.namespace, vpc.state.vni);
          await this.#publicRoutes.cablesChanged();
        },
        closing: async (vpc) => {
          if (vpc.state !== undefined) await cutCable(vpc.state.vni);
          await this.#publicRoutes.cablesChanged();
        },
      },
      stateDir,
      log,
    );
  }

  async adopt(): Promise<void> {
    await this.device.adopt();
    await this.#route();
  }

  async applyVpc(state: VpcState, from: number | undefined): Promise<{ version: number }> {
    const result = await this.device.applyVpc(state, from);
    await this.#route();
    return result;
  }

  async transact(transaction: DeviceTransaction): Promise<DeviceObjects> {
    const result = await this.device.transact(transaction);
    await this.#route();
    return result;
  }

  async removeVpc(vpcId: string): Promise<void> {
    await this.device.removeVpc(vpcId);
    await this.#route();
  }

  #isHere(state: VpcState | undefined): state is VpcState {
    return state?.internetGateway?.vtep === this.#vtep;
  }

  /** Public addresses are one table of all VPCs: written by one at a time, each time from all that is known. */
  #route(): Promise<void> {
    const next = this.#routing.then(() => this.#publicRoutes.set(this.#wantedRoutes()));
    this.#routing = next.catch(() => undefined);
    return next;
  }

  #wantedRoutes(): Map<string, string> {
    const open = [...this.device.vpcs.values()].filter((vpc: Vpc) => vpc.isOpen);
    return new Map(
      open.flatMap(({ state }) =>
        this.#isHere(state)
          ? publicPorts(state).map(({ publicIp }): [string, string] => [publicIp, cableName(state.vni)])
          : [],
      ),
    );
  }
}
