/** A region in process memory that keeps the rules of the real one: addresses once, places by epoch, versions that grow. */
import type { Caller, Method, Params, Result } from '#base/rpc/contract.ts';
import { assertOutsideTransaction } from '#base/transactionScope.ts';
import { PandoError } from '#contracts/errors.ts';
import { newId } from '#contracts/ids.ts';
import type { VpcPort, VpcState } from '#contracts/network.ts';
import type { regionContract } from '#contracts/region.ts';

type Contract = typeof regionContract;

export interface FakeRegionOptions {
  readonly zone: string;
  /** Push every new state to the cell, as the real one does. */
  push?(state: VpcState): Promise<unknown>;
}

const addressesMax = 60_000;

export class FakeRegion implements Caller<Contract> {
  readonly imageId = newId('image');
  /** What the one image is, for hosts that look at it. */
  image = { digest: 'sha256:test', minMemoryMib: 64, diskVirtualMib: 256 };
  readonly vpcId = newId('vpc');
  readonly subnetId = newId('subnet');
  readonly groupId = newId('securityGroup');
  readonly interfaces = new Map<string, VpcPort>();
  readonly released: string[] = [];
  /** How many interfaces were made for each instance: never more than one. */
  readonly allocations = new Map<string, number>();
  readonly #zone: string;
  readonly #freed: number[] = [];
  #next = 0;
  #version = 1;
  push: FakeRegionOptions['push'];
  /** Called before each call: throws what a test orders. */
  before: ((method: string) => void | Promise<void>) | undefined;

  constructor(options: FakeRegionOptions) {
    this.#zone = options.zone;
    this.push = options.push;
  }

  async call<M extends Method<Contract>>(
    method: M,
    params: Params<Contract, M>,
  ): Promise<Result<Contract, M>> {
    assertOutsideTransaction(method);
    await this.before?.(method);
    const handler: ((params: never) => unknown) | undefined = Reflect.get(this.#handlers, method);
    if (handler === undefined)
      throw new PandoError('UnsupportedOperation', `${method} is not part of the fake region.`);
    return (await handler(params as never)) as Result<Contract, M>;
  }

  /** The whole network as it is declared now. */
  state(): VpcState {
    return {
      vpcId: this.vpcId,
      vni: 100,
      version: this.#version,
      cidrs: ['10.0.0.0/16'],
      subnets: [{ subnetId: this.subnetId, cidr: '10.0.0.0/16', router: '10.0.0.1', routes: [] }],
      groups: [{ groupId: this.groupId, ingress: [], egress: [] }],
      ports: [...this.interfaces.values()],
      dnsServers: [],
      domainName: 'test.internal',
      mtu: 1450,
    };
  }

  #changed(): VpcState {
    this.#version++;
    return this.state();
  }

  #allocate(params: Params<Contract, 'region.allocateInterface'>): { vpcId: string; port: VpcPort } {
    const known = this.interfaces.get(params.instanceId);
    if (known !== undefined) return { vpcId: this.vpcId, port: known };
    if (this.released.includes(params.instanceId))
      throw new PandoError('Conflict', `${params.instanceId} had its interface released.`);
    this.allocations.set(params.instanceId, (this.allocations.get(params.instanceId) ?? 0) + 1);
    const number = this.#freed.shift() ?? this.#next++;
    if (number > addressesMax) throw new PandoError('InsufficientAddressCapacity', 'The subnet is full.');
    const host = number + 10;
    const port: VpcPort = {
      eniId: newId('networkInterface'),
      instanceId: params.instanceId,
      mac: `06:00:00:00:${hexByte(host >> 8)}:${hexByte(host)}`,
      ip: params.privateIp ?? `10.0.${host >> 8}.${host & 255}`,
      subnetId: this.subnetId,
      groupIds: params.groupIds,
      sourceDestCheck: true,
      epoch: 0,
    };
    this.interfaces.set(params.instanceId, port);
    return { vpcId: this.vpcId, port };
  }

  async #place({ eniId, vtep, epoch }: Params<Contract, 'region.placeInterface'>) {
    const [instanceId, port] = [...this.interfaces].find(([, each]) => each.eniId === eniId) ?? [];
    if (instanceId === undefined || port === undefined)
      throw new PandoError('InvalidNetworkInterfaceID.NotFound', `${eniId} does not exist.`);
    const same = port.epoch === epoch && port.vtep === vtep;
    if (!same && port.epoch >= epoch)
      throw new PandoError('StaleEpoch', `${eniId} is at epoch ${port.epoch}.`);
    if (same) return { state: this.state(), unreachable: [] };
    this.interfaces.set(instanceId, { ...port, vtep, epoch });
    const state = this.#changed();
    await this.push?.(state);
    return { state, unreachable: [] };
  }

  readonly #handlers = {
    'region.resolveLaunch': (
      params: Params<Contract, 'region.resolveLaunch'>,
    ): Result<Contract, 'region.resolveLaunch'> => {
      if (params.imageId !== this.imageId)
        throw new PandoError('InvalidAMIID.NotFound', `The image id '[${params.imageId}]' does not exist`);
      return {
        image: {
          imageId: this.imageId,
          ...this.image,
          architecture: 'x86_64',
          rootDeviceName: '/dev/xvda',
        },
        vpcId: this.vpcId,
        subnetId: this.subnetId,
        zone: params.zone ?? this.#zone,
        groups: [{ groupId: this.groupId, groupName: 'default' }],
        mapPublicIp: false,
        domainName: 'test.internal',
      };
    },
    'region.allocateInterface': (params: Params<Contract, 'region.allocateInterface'>) =>
      this.#allocate(params),
    'region.placeInterface': (params: Params<Contract, 'region.placeInterface'>) => this.#place(params),
    'region.changeInterface': async (
      params: Params<Contract, 'region.changeInterface'>,
    ): Promise<Result<Contract, 'region.changeInterface'>> => {
      const port = this.interfaces.get(params.instanceId);
      if (port === undefined)
        throw new PandoError('InvalidNetworkInterfaceID.NotFound', `${params.instanceId} has no interface.`);
      const groupIds = params.groupIds ?? port.groupIds;
      const sourceDestCheck = params.sourceDestCheck ?? port.sourceDestCheck;
      this.interfaces.set(params.instanceId, { ...port, groupIds, sourceDestCheck });
      const state = this.#changed();
      await this.push?.(state);
      const groups = groupIds.map((groupId) => ({ groupId, groupName: 'default' }));
      return { groups, sourceDestCheck, version: state.version };
    },
    'region.releaseInterface': async ({ instanceId }: Params<Contract, 'region.releaseInterface'>) => {
      const port = this.interfaces.get(instanceId);
      if (port === undefined) return {};
      this.interfaces.delete(instanceId);
      this.released.push(instanceId);
      await this.push?.(this.#changed());
      return {};
    },
    'region.vpcState': () => ({ state: this.state() }),
    'region.interfaces': () => ({ interfaces: {} }),
  };
}

const hexByte = (value: number): string => (value & 255).toString(16).padStart(2, '0');
