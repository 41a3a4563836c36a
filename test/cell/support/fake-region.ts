/** A region in process memory that keeps the rules of the real one: addresses once, places by epoch, versions that grow. */
import { difference, knownOf, objectsFor } from '#base/network/needs.ts';
import { partsOf } from '#base/network/parts.ts';
import type { Caller, Method, Params, Result } from '#base/rpc/contract.ts';
import { assertOutsideTransaction } from '#base/transactionScope.ts';
import { PandoError } from '#contracts/errors.ts';
import type { HourRange, WindowedInstance } from '#contracts/event-windows.ts';
import { cellNumberOf, newId, parseId } from '#contracts/ids.ts';
import type { VpcPort, VpcState } from '#contracts/network.ts';
import { interfaceReleased, type regionContract } from '#contracts/region.ts';
import type { EventWindowTarget } from '../../region-contract.subject.ts';

type Contract = typeof regionContract;

export interface FakeRegionOptions {
  readonly zone: string;
  /** Push every new state to the cell, as the real one does. */
  push?(state: VpcState): Promise<unknown>;
}

const addressesMax = 60_000;
/** Addresses of the one subnet, 10.0.0.0/16, that nobody takes by itself: the region's own and the last ones. */
const firstHost = 10;
const publicAddressesMax = 250;

export interface FakePlacementGroup {
  readonly groupId: string;
  readonly groupName: string;
  readonly strategy: 'cluster' | 'spread' | 'partition';
  readonly partitionCount?: number;
}

export interface FakeEventWindow {
  readonly accountId: string;
  readonly target: EventWindowTarget;
  hours: HourRange[];
}

const isTarget = ({ accountId, target }: FakeEventWindow, instance: WindowedInstance): boolean => {
  if (instance.accountId !== accountId) return false;
  if (target.kind === 'tag')
    return instance.tags.some(({ Key, Value }) => Key === target.key && Value === target.value);
  return target.id === (target.kind === 'host' ? instance.dedicatedHostId : instance.instanceId);
};

export class FakeRegion implements Caller<Contract> {
  readonly imageId = newId('image');
  /** What the one image is, for hosts that look at it. */
  image = { digest: 'sha256:test', minMemoryMib: 64, diskVirtualMib: 256 };
  readonly vpcId = newId('vpc');
  readonly subnetId = newId('subnet');
  readonly groupId = newId('securityGroup');
  readonly interfaces = new Map<string, VpcPort>();
  /** Instances that get no interface any more, whether or not they had one. */
  readonly #gone = new Set<string>();
  /** Instances whose launch asked for an automatic public address. */
  readonly #asked = new Set<string>();
  /** By account and client token: the cell that has it, and how many of its requests claim it. */
  readonly #tokens = new Map<string, { readonly cellId: string; claims: number }>();
  /** How many interfaces were made for each instance: never more than one. */
  readonly allocations = new Map<string, number>();
  readonly #owners = new Map<string, string>();
  /** Offers to requests that are one of several, by their ids, in the order in which they were heard of; shared as well. */
  offered = new Map<string, NonNullable<Params<Contract, 'region.endedRequests'>['offers']>[number]>();
  /** Requests for capacity that are one of several and have ended; cells of one region share it. */
  ended = new Map<string, Params<Contract, 'region.endedRequests'>['ended'][number]>();
  /** That the cell has told of. */
  readonly accounts = new Set<string>();
  readonly #zone: string;
  readonly #freed: number[] = [];
  /** By name. */
  readonly placementGroups = new Map<string, FakePlacementGroup>();
  /** By id. Their hours are a test's to change. */
  readonly eventWindows = new Map<string, FakeEventWindow>();
  /** The group of each instance, by their ids. */
  readonly groupOf = new Map<string, string>();
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

  /** Devices that cannot be told where interfaces are. */
  unreachable: readonly string[] = [];
  /** A region of the last release does not show an interface with its allocation. */
  showsAllocated = false;
  /** How often it was asked for what is shown of interfaces. */
  interfacesAsked = 0;

  #allocate(params: Params<Contract, 'region.allocateInterface'>): { vpcId: string; port: VpcPort } {
    const { accountId, subnetId } = params;
    const instanceId = parseId('instance', params.instanceId);
    if (this.#gone.has(instanceId))
      throw new PandoError('StaleEpoch', `${instanceId} had its interface released.`, {
        details: interfaceReleased,
      });
    this.#assertSubnet(subnetId);
    const known = this.interfaces.get(instanceId);
    if (known !== undefined) return { vpcId: this.vpcId, port: known };
    const groupIds = this.#groups(params.groupIds);
    const ip = this.#address(params.privateIp);
    const publicIp = params.publicIp ? this.#publicAddress() : undefined;
    if (params.placementGroupId !== undefined) this.groupOf.set(instanceId, params.placementGroupId);
    if (params.publicIp) this.#asked.add(instanceId);
    this.allocations.set(instanceId, (this.allocations.get(instanceId) ?? 0) + 1);
    const mac = ['06', '00', ...ip.split('.').map((part) => hexByte(Number(part)))].join(':');
    const port: VpcPort = {
      ...{ eniId: newId('networkInterface'), instanceId, mac, ip, subnetId, groupIds },
      ...{ sourceDestCheck: true, epoch: 0, ...(publicIp === undefined ? {} : { publicIp }) },
    };
    this.interfaces.set(instanceId, port);
    this.#owners.set(instanceId, accountId);
    this.#version++;
    return { vpcId: this.vpcId, port };
  }

  #claimToken({ accountId, claim }: Params<Contract, 'region.resolveLaunch'>): void {
    if (claim === undefined) return;
    const key = `${accountId}/${claim.token}`;
    const present = this.#tokens.get(key) ?? { cellId: claim.cellId, claims: 0 };
    if (present.cellId !== claim.cellId)
      throw new PandoError('Unavailable', 'Another cell may have accepted this client token.', {
        details: { tokenCellId: present.cellId },
      });
    present.claims += 1;
    this.#tokens.set(key, present);
  }

  addPlacementGroup(
    groupName: string,
    strategy: FakePlacementGroup['strategy'],
    partitionCount?: number,
  ): FakePlacementGroup {
    const group = {
      ...{ groupId: newId('placementGroup'), groupName, strategy },
      ...(partitionCount === undefined ? {} : { partitionCount }),
    };
    this.placementGroups.set(groupName, group);
    return group;
  }

  addEventWindow(accountId: string, target: EventWindowTarget, hours: HourRange[]): string {
    const windowId = newId('instanceEventWindow');
    this.eventWindows.set(windowId, { accountId, target, hours });
    return windowId;
  }

  #placementGroup({ id, name }: { id?: string | undefined; name?: string | undefined }): FakePlacementGroup {
    const found = [...this.placementGroups.values()].find((group) =>
      id === undefined ? group.groupName === name : group.groupId === id,
    );
    if (found === undefined)
      throw new PandoError(
        'InvalidPlacementGroup.Unknown',
        `The Placement Group '${id ?? name ?? ''}' is unknown.`,
      );
    return found;
  }

  #assertSubnet(subnetId: string): void {
    if (parseId('subnet', subnetId) !== this.subnetId)
      throw new PandoError('InvalidSubnetID.NotFound', `The subnet ID '${subnetId}' does not exist`);
  }

  /** None named: the default one. */
  #groups(groupIds: readonly string[]): string[] {
    const missing = groupIds.find((id) => id !== this.groupId);
    if (missing !== undefined)
      throw new PandoError('InvalidGroup.NotFound', `The security group '${missing}' does not exist`);
    return [this.groupId];
  }

  #assertInside(privateIp: string | undefined): void {
    if (privateIp !== undefined && !/^10\.0(\.\d{1,3}){2}$/.test(privateIp))
      throw new PandoError('InvalidParameterValue', `Address ${privateIp} is not in the subnet.`);
    if (privateIp !== undefined && /^10\.0\.(0\.[0-3]|255\.255)$/.test(privateIp))
      throw new PandoError(
        'InvalidParameterValue',
        `Address ${privateIp} is in subnet's reserved address range`,
      );
  }

  #address(wanted: string | undefined): string {
    this.#assertInside(wanted);
    const taken = new Set([...this.interfaces.values()].map(({ ip }) => ip));
    if (wanted !== undefined && taken.has(wanted))
      throw new PandoError('InvalidIPAddress.InUse', `Address ${wanted} is in use.`);
    if (wanted !== undefined) return wanted;
    for (;;) {
      const number = this.#freed.shift() ?? this.#next++;
      if (number > addressesMax)
        throw new PandoError('InsufficientFreeAddressesInSubnet', 'The subnet is full.');
      const host = number + firstHost;
      const ip = `10.0.${host >> 8}.${host & 255}`;
      if (!taken.has(ip)) return ip;
    }
  }

  #publicAddress(): string {
    const taken = new Set([...this.interfaces.values()].map(({ publicIp }) => publicIp));
    for (let host = 1; host <= publicAddressesMax; host++)
      if (!taken.has(`203.0.113.${host}`)) return `203.0.113.${host}`;
    throw new PandoError('InsufficientAddressCapacity', 'The region has no free public address now.');
  }

  /** The account's interface of this instance. @throws InvalidNetworkInterfaceID.NotFound */
  #owned(accountId: string, instanceId: string): VpcPort {
    const port = this.interfaces.get(instanceId);
    if (port === undefined || this.#owners.get(instanceId) !== accountId)
      throw new PandoError('InvalidNetworkInterfaceID.NotFound', `${instanceId} has no interface.`);
    return port;
  }

  async #place({ eniId, vtep, epoch, releaseAutomatic }: Params<Contract, 'region.placeInterface'>) {
    const [instanceId, port] = [...this.interfaces].find(([, each]) => each.eniId === eniId) ?? [];
    if (instanceId === undefined || port === undefined)
      throw new PandoError('InvalidNetworkInterfaceID.NotFound', `${eniId} does not exist.`);
    const same = port.epoch === epoch && port.vtep === vtep;
    if (!same && port.epoch >= epoch)
      throw new PandoError('StaleEpoch', `${eniId} is at epoch ${port.epoch}.`);
    if (same) return { state: this.state(), unreachable: [...this.unreachable], publicIp: port.publicIp };
    const publicIp = this.#publicIpOnceAt(instanceId, port, vtep, releaseAutomatic);
    this.interfaces.set(instanceId, { ...port, vtep, epoch, publicIp });
    const state = this.#changed();
    await this.push?.(state);
    return { state, unreachable: [...this.unreachable], publicIp };
  }

  /** This region has no elastic addresses: what an interface has is automatic. */
  #publicIpOnceAt(instanceId: string, port: VpcPort, vtep: string | undefined, release = false) {
    if (vtep === undefined) return release ? undefined : port.publicIp;
    return port.publicIp ?? (this.#asked.has(instanceId) ? this.#publicAddress() : undefined);
  }

  readonly #handlers = {
    'region.resolveLaunch': (
      params: Params<Contract, 'region.resolveLaunch'>,
    ): Result<Contract, 'region.resolveLaunch'> => {
      if (params.imageId !== this.imageId)
        throw new PandoError('InvalidAMIID.NotFound', `The image id '[${params.imageId}]' does not exist`);
      const { subnetId = this.subnetId, zone = this.#zone, count, privateIp, keyName } = params;
      if (keyName !== undefined)
        throw new PandoError('InvalidKeyPair.NotFound', `The key pair '${keyName}' does not exist`);
      this.#assertSubnet(subnetId);
      this.#assertInside(privateIp);
      const [groupId = this.groupId] = this.#groups(params.groupIds);
      const placementGroup = params.placementGroup && this.#placementGroup(params.placementGroup);
      this.#claimToken(params);
      return {
        ...(placementGroup === undefined ? {} : { placementGroup }),
        image: {
          imageId: this.imageId,
          ...this.image,
          architecture: 'x86_64',
          rootDeviceName: '/dev/xvda',
        },
        vpcId: this.vpcId,
        subnetId,
        zone,
        groups: [{ groupId, groupName: 'default' }],
        mapPublicIp: false,
        domainName: 'test.internal',
        ...(count === undefined ? {} : { freeAddresses: addressesMax - this.interfaces.size }),
      };
    },
    'region.noteAccounts': ({ accountIds }: Params<Contract, 'region.noteAccounts'>) => {
      for (const id of accountIds) this.accounts.add(id);
      return {};
    },
    'region.accountCells': () => ({ cellIds: [] }),
    'region.endedRequests': ({
      cellId,
      ended,
      mains,
      offers = [],
    }: Params<Contract, 'region.endedRequests'>) => {
      for (const one of ended)
        if (cellId === `cell-${cellNumberOf(one.requestId)}` && !this.ended.has(one.requestId))
          this.ended.set(one.requestId, one);
      for (const { open, ...offer } of offers)
        if (
          cellId === `cell-${cellNumberOf(offer.requestId)}` &&
          this.offered.get(offer.offerId)?.open !== false
        )
          this.offered.set(offer.offerId, { ...offer, open });
      const offered = [...this.offered.values()].filter(
        ({ open, main, requestId }) => open && mains.includes(main) && !this.ended.has(requestId),
      );
      const rank = ({ main, requestId }: { main: string; requestId: string }): number =>
        main === requestId ? 0 : 1;
      return {
        ended: [...this.ended.values()].filter(({ main }) => mains.includes(main)),
        offered: offered
          .toSorted((a, b) => a.main.localeCompare(b.main) || rank(a) - rank(b))
          .map(({ open: _, ...offer }) => offer),
      };
    },
    'region.releaseToken': (params: Params<Contract, 'region.releaseToken'>) => {
      const key = `${params.accountId}/${params.token}`;
      const mine = this.#tokens.get(key);
      if (mine?.cellId !== params.cellId) return {};
      mine.claims -= 1;
      if (mine.claims === 0) this.#tokens.delete(key);
      return {};
    },
    'region.allocateInterface': (params: Params<Contract, 'region.allocateInterface'>) => {
      const allocated = this.#allocate(params);
      const { eniId, ip } = allocated.port;
      const view = { NetworkInterfaceId: eniId, PrivateIpAddress: ip, Status: 'in-use' };
      return { ...allocated, ...(params.shown && this.showsAllocated ? { shown: [view] } : {}) };
    },
    'region.placeInterface': (params: Params<Contract, 'region.placeInterface'>) => this.#place(params),
    'region.changeInterface': async (
      params: Params<Contract, 'region.changeInterface'>,
    ): Promise<Result<Contract, 'region.changeInterface'>> => {
      const port = this.#owned(params.accountId, params.instanceId);
      if (params.groupIds?.length === 0)
        throw new PandoError('InvalidParameterValue', 'An interface must have at least one security group.');
      const groupIds = this.#groups(params.groupIds ?? port.groupIds);
      if (params.dryRun) throw new PandoError('DryRunOperation', 'It would have succeeded.');
      const sourceDestCheck = params.sourceDestCheck ?? port.sourceDestCheck;
      this.interfaces.set(params.instanceId, { ...port, groupIds, sourceDestCheck });
      const state = this.#changed();
      await this.push?.(state);
      const groups = groupIds.map((groupId) => ({ groupId, groupName: 'default' }));
      return { groups, sourceDestCheck, version: state.version };
    },
    'region.changePlacementGroup': ({
      instanceId,
      group,
      check,
    }: Params<Contract, 'region.changePlacementGroup'>): Result<Contract, 'region.changePlacementGroup'> => {
      if (check === true) return group === undefined ? {} : { placementGroup: this.#placementGroup(group) };
      if (!this.interfaces.has(instanceId))
        throw new PandoError('InvalidNetworkInterfaceID.NotFound', `${instanceId} has no interface.`);
      const placementGroup = group && this.#placementGroup(group);
      if (placementGroup === undefined) this.groupOf.delete(instanceId);
      else this.groupOf.set(instanceId, placementGroup.groupId);
      return placementGroup === undefined ? {} : { placementGroup };
    },
    'region.placementGroups': ({ groupIds }: Params<Contract, 'region.placementGroups'>) => ({
      groups: [...this.placementGroups.values()].filter(({ groupId }) => groupIds.includes(groupId)),
    }),
    'region.eventWindows': ({ instances }: Params<Contract, 'region.eventWindows'>) => ({
      windows: instances.flatMap((instance) =>
        [...this.eventWindows]
          .filter(([, window]) => isTarget(window, instance))
          .map(([windowId, { hours }]) => ({ ...{ instanceId: instance.instanceId, windowId }, hours })),
      ),
    }),
    'region.releaseInterface': async ({ instanceId }: Params<Contract, 'region.releaseInterface'>) => {
      this.#gone.add(instanceId);
      for (const [id, { target }] of this.eventWindows)
        if (target.kind === 'instance' && target.id === instanceId) this.eventWindows.delete(id);
      if (!this.interfaces.delete(instanceId)) return {};
      const state = this.#changed();
      await this.push?.(state);
      return {};
    },
    'region.vpcState': ({ vpcId }: Params<Contract, 'region.vpcState'>) => {
      if (vpcId !== this.vpcId)
        throw new PandoError('InvalidVpcID.NotFound', `The vpc ID '${vpcId}' does not exist`);
      return { state: this.state() };
    },
    'region.pushVpc': async ({ vpcId }: Params<Contract, 'region.pushVpc'>) => {
      if (vpcId === this.vpcId) await this.push?.(this.state());
      return { unreachable: vpcId === this.vpcId ? [...this.unreachable] : [] };
    },
    'region.vpcParts': ({ vpcId, has }: Params<Contract, 'region.vpcParts'>) => {
      if (vpcId !== this.vpcId)
        throw new PandoError('InvalidVpcID.NotFound', `The vpc ID '${vpcId}' does not exist`);
      const parts = partsOf(this.state());
      const told = difference(knownOf(vpcId, has), parts, objectsFor(parts, new Set([this.groupId])));
      const nothing = { vpcId, version: this.#version, set: [], removed: [] };
      return { objects: [...(told?.objects ?? [])], places: told?.places ?? nothing };
    },
    'region.interfaces': () => {
      this.interfacesAsked++;
      return { interfaces: {} };
    },
    'region.validationImage': () => ({
      image: {
        ...{ imageId: this.imageId, ...this.image },
        ...{ architecture: 'x86_64', rootDeviceName: '/dev/xvda' },
      },
    }),
  };
}

const hexByte = (value: number): string => (value & 255).toString(16).padStart(2, '0');
