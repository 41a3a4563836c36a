/** The processor's stream to the region: what it asks, and the network state that the region pushes over the same stream. */
import type { TlsMaterial } from '#base/identity.ts';
import type { Logger } from '#base/log.ts';
import { type ReplicaAddress, ReplicaClient } from '#base/rpc/replicas.ts';
import { cellPushAccess } from '#contracts/access.ts';
import { PandoError } from '#contracts/errors.ts';
import { type CellRecord, cellPushContract, regionContract } from '#contracts/region.ts';
import type { Cell } from './cell.ts';
import { cellContents } from './contents.ts';
import { deviceHandlers } from './hosts/devices.ts';
import { fleetHandlers } from './hosts/fleet.ts';
import { regionResource } from './hosts/reach.ts';
import { instanceFates, ownedHosts } from './instance-fates.ts';

export interface RegionLinkOptions {
  readonly tls: TlsMaterial;
  /** Where its replicas are. */
  readonly at: readonly ReplicaAddress[];
  readonly record: CellRecord;
  readonly log: Logger;
  /** The cell, once it is made; pushes before that are asked for again by the region. */
  cell(): Cell | undefined;
  /** Told the region's name with each (re)connection. */
  onJoin(region: string): void;
}

export type RegionLink = ReplicaClient<typeof cellPushContract, typeof regionContract>;

export const openRegionLink = (options: RegionLinkOptions): RegionLink => {
  const ready = (): Cell => {
    const cell = options.cell();
    if (cell === undefined) throw new PandoError('NotReady', 'The cell is starting.');
    return cell;
  };
  return new ReplicaClient({
    tls: options.tls,
    at: options.at,
    expect: 'spiffe://pando/region/',
    remote: regionContract,
    contract: cellPushContract,
    access: cellPushAccess,
    handlers: {
      'cell.applyVpc': ({ state }) => ready().services.vpcs.push(state),
      'cell.applyParts': ({ objects, places }) => ready().services.vpcs.applyParts(objects, places),
      'cell.objects': ({ vpcIds }) => ready().services.vpcs.objects(vpcIds),
      ...deviceHandlers(() => ready().services),
      ...fleetHandlers(() => ready().services, options.record),
      'cell.removeVpc': async ({ vpcId }) => {
        await ready().services.vpcs.remove(vpcId);
        return {};
      },
      'cell.contents': () => cellContents(ready().services),
      'cell.dedicatedHosts': ({ accountId, hostIds }) => ownedHosts(ready().services, accountId, hostIds),
      'cell.instances': ({ instanceIds }) => instanceFates(ready().services, instanceIds),
    },
    onConnect: async (stream) => {
      const { region } = await stream.call('region.joinCell', options.record);
      options.onJoin(region);
      options.log.info({ region }, 'joined the region');
      // A moment later: the stream is in use only when this has returned.
      setImmediate(() => options.cell()?.engine.reached(regionResource));
    },
    onDisconnect: (reason) =>
      options.log.warn({ reason }, 'the region is away: running instances and their cards are not touched'),
  });
};
