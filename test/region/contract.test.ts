/** The real region passes what every region must do: the same checks as the one in memory. */
import { mkdir, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { after, before } from 'node:test';
import { formatAddress, parseNetwork } from '#base/ipv4.ts';
import type { Caller } from '#base/rpc/contract.ts';
import { PandoError } from '#contracts/errors.ts';
import type { regionContract } from '#contracts/region.ts';
import { vpcPartsFor } from '#region/cell-parts.ts';
import { endedRequests } from '#region/ended-requests.ts';
import { windowsOf } from '#region/event-windows/targets.ts';
import { changeInterface } from '#region/interface-changes.ts';
import {
  allocateInterface,
  devicesBehind,
  interfacesOf,
  placeInterface,
  releaseInterface,
  vpcStateOf,
} from '#region/interfaces.ts';
import { resolveLaunch } from '#region/launch.ts';
import { releaseLaunchToken, type TokenClaim } from '#region/launch-tokens.ts';
import { changePlacementGroup, describePlacementGroups } from '#region/placement-groups.ts';
import type { Region } from '#region/region.ts';
import type { RegionUnderTest } from '../region-contract.subject.ts';
import { regionContractSuite } from '../region-contract.suite.ts';
import { cellNumber, startTestRegion, type TestRegion } from './test-region.ts';

type Contract = typeof regionContract;

/** What the region's server answers to a cell, without a network in between. */
const callerOf = (region: Region): Caller<Contract> => {
  const handlers: { readonly [M in keyof Contract]?: (params: never) => Promise<unknown> } = {
    'region.resolveLaunch': (params: Parameters<typeof resolveLaunch>[1]) => resolveLaunch(region, params),
    'region.allocateInterface': (params: Parameters<typeof allocateInterface>[1]) =>
      allocateInterface(region, params),
    'region.placeInterface': (params: Parameters<typeof placeInterface>[1]) => placeInterface(region, params),
    'region.releaseInterface': async ({ instanceId }: { instanceId: string }) => {
      await releaseInterface(region, instanceId);
      return {};
    },
    'region.changeInterface': ({
      accountId,
      instanceId,
      dryRun,
      ...change
    }: Parameters<typeof changeInterface>[2] & { accountId: string; instanceId: string; dryRun: boolean }) =>
      changeInterface({ region, accountId }, { instanceId }, change, dryRun),
    'region.changePlacementGroup': async (params: Parameters<typeof changePlacementGroup>[1]) => {
      const placementGroup = await changePlacementGroup(region, params);
      return placementGroup === undefined ? {} : { placementGroup };
    },
    'region.placementGroups': async ({ groupIds }: { groupIds: string[] }) => ({
      groups: await describePlacementGroups(region.db, groupIds),
    }),
    'region.eventWindows': async ({ instances }: { instances: Parameters<typeof windowsOf>[1] }) => ({
      windows: await windowsOf(region.db, instances),
    }),
    'region.endedRequests': (params: Parameters<typeof endedRequests>[1]) => endedRequests(region.db, params),
    'region.releaseToken': async (claim: TokenClaim) => {
      await releaseLaunchToken(region.db, claim);
      return {};
    },
    'region.pushVpc': async ({ vpcId }: { vpcId: string }) => ({
      unreachable: await devicesBehind(region, vpcId),
    }),
    'region.vpcState': async ({ vpcId }: { vpcId: string }) => ({ state: await vpcStateOf(region, vpcId) }),
    'region.vpcParts': (params: Parameters<typeof vpcPartsFor>[1]) => vpcPartsFor(region, params),
    'region.interfaces': async (params: { accountId: string; instanceIds: string[] }) => ({
      interfaces: await interfacesOf(region, params.accountId, params.instanceIds),
    }),
  };
  return {
    call: async (method, params) => {
      const handler = handlers[method];
      if (handler === undefined) throw new PandoError('UnsupportedOperation', method);
      return (await handler(params as never)) as never;
    },
  };
};

/** The first four addresses of a range, and the last. */
const reservedOf = (cidr: string): string[] => {
  const { base, size } = parseNetwork(cidr) ?? { base: 0, size: 0 };
  return [0, 1, 2, 3, size - 1].map((host) => formatAddress(base + host));
};

let test: TestRegion;
let under: RegionUnderTest;
before(async () => {
  test = await startTestRegion({ privateRestMs: 3_600_000 });
  const account = await test.account();
  const subnet = (await account.call('DescribeSubnets', {})).Subnets?.[0];
  const group = (await account.call('DescribeSecurityGroups', {})).SecurityGroups?.[0];
  const file = path.join(test.dir, 'sources', 'disk.raw');
  await mkdir(path.dirname(file), { recursive: true });
  const disk = Buffer.alloc(1 << 20);
  disk.writeUInt16LE(0xaa55, 510);
  await writeFile(file, disk);
  const image = await account.call('RegisterImage', { Name: 'image', ImageLocation: file });
  const cell = { cell_id: `cell-${cellNumber}`, number: cellNumber, zone: 'test-1a', processors: [] };
  await test.region.db
    .insertInto('cell')
    .values({ ...cell, state: 'active' })
    .execute();
  under = {
    caller: callerOf(test.region),
    cellNumber,
    accountId: account.accountId,
    imageId: image.ImageId ?? '',
    zone: subnet?.AvailabilityZone ?? '',
    vpcId: subnet?.VpcId ?? '',
    subnetId: subnet?.SubnetId ?? '',
    groupId: group?.GroupId ?? '',
    privateIp: `${(subnet?.CidrBlock ?? '').split('.').slice(0, 3).join('.')}.200`,
    reservedIps: reservedOf(subnet?.CidrBlock ?? ''),
    eventWindow: async (target) => {
      const made = await account.call('CreateInstanceEventWindow', { CronExpression: '* 0-4 * * 1' });
      const window_id = made.InstanceEventWindow?.InstanceEventWindowId ?? '';
      const what =
        target.kind === 'tag'
          ? { kind: target.kind, target: target.key, value: target.value }
          : { kind: target.kind, target: target.id };
      // Written as it is: a dedicated host's cell would be asked for it.
      const row = { account_id: account.accountId, window_id, ...what };
      await test.region.db.insertInto('event_window_target').values(row).execute();
      return window_id;
    },
    placementGroup: async (name, Strategy, PartitionCount) => {
      const made = await account.call('CreatePlacementGroup', { GroupName: name, Strategy, PartitionCount });
      return made.PlacementGroup?.GroupId ?? '';
    },
  };
});
after(() => test.stop());

regionContractSuite('real region', () => under);
