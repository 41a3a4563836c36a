/** The region that the contract's checks run against, and what each of them works with. */
import assert from 'node:assert/strict';
import type { Caller, Params } from '#base/rpc/contract.ts';
import { newCellId } from '#contracts/ids.ts';
import type { VpcPort } from '#contracts/network.ts';
import type { regionContract } from '#contracts/region.ts';

/** What a window is for. */
export type EventWindowTarget =
  | { readonly kind: 'instance' | 'host'; readonly id: string }
  | { readonly kind: 'tag'; readonly key: string; readonly value: string };

export interface RegionUnderTest {
  readonly caller: Caller<typeof regionContract>;
  readonly cellNumber: number;
  readonly accountId: string;
  readonly imageId: string;
  readonly zone: string;
  readonly vpcId: string;
  /** With some hundred free addresses. */
  readonly subnetId: string;
  /** The VPC's default group. */
  readonly groupId: string;
  /** An address of the subnet that nobody takes by itself. */
  readonly privateIp: string;
  /** The first four addresses of the subnet and its last one. */
  readonly reservedIps: readonly string[];
  /** Makes an event window of the account, on Mondays from 0 to 4 o'clock; answers its id. */
  eventWindow(target: EventWindowTarget): Promise<string>;
  /** Makes a placement group of the account; answers its id. */
  placementGroup(
    name: string,
    strategy: 'cluster' | 'spread' | 'partition',
    partitionCount?: number,
  ): Promise<string>;
}

type Allocate = Params<typeof regionContract, 'region.allocateInterface'>;

/** One instance and its interface. */
export class Subject {
  readonly instanceId: string;
  readonly region: RegionUnderTest;

  constructor(region: RegionUnderTest) {
    this.region = region;
    this.instanceId = newCellId('instance', region.cellNumber);
  }

  allocate(more: Partial<Allocate> = {}) {
    const { accountId, subnetId } = this.region;
    const own = { accountId, instanceId: this.instanceId, subnetId, groupIds: [], publicIp: false };
    return this.region.caller.call('region.allocateInterface', { ...own, ...more });
  }

  async place(eniId: string, epoch: number, vtep?: string, releaseAutomatic?: boolean) {
    const { state, unreachable, publicIp } = await this.region.caller.call('region.placeInterface', {
      ...{ eniId, epoch, vtep, releaseAutomatic },
    });
    assert.ok(state !== undefined, 'asked with its state, it is answered with it');
    return { state, unreachable, publicIp };
  }

  release() {
    return this.region.caller.call('region.releaseInterface', { instanceId: this.instanceId });
  }

  change(more: Partial<Params<typeof regionContract, 'region.changeInterface'>>) {
    const { accountId } = this.region;
    const own = { accountId, instanceId: this.instanceId, dryRun: false };
    return this.region.caller.call('region.changeInterface', { ...own, ...more });
  }

  resolve(more: Partial<Params<typeof regionContract, 'region.resolveLaunch'>> = {}) {
    const { accountId, imageId } = this.region;
    const own = { accountId, imageId, groupIds: [], groupNames: [] };
    return this.region.caller.call('region.resolveLaunch', { ...own, ...more });
  }

  async vpc() {
    return (await this.region.caller.call('region.vpcState', { vpcId: this.region.vpcId })).state;
  }

  /** As the network state has it now. */
  async port(): Promise<VpcPort | undefined> {
    return (await this.vpc()).ports.find(({ instanceId }) => instanceId === this.instanceId);
  }
}
