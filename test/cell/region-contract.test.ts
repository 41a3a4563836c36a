/** The region that a cell's tests have in memory passes what every region must do: the same checks as the real one. */
import { regionContractSuite } from '../region-contract.suite.ts';
import { FakeRegion } from './support/fake-region.ts';
import { accountId, zone } from './support/harness.ts';

const region = new FakeRegion({ zone });

regionContractSuite('region in memory', () => ({
  ...{ caller: region, cellNumber: 1, accountId, zone },
  ...{ imageId: region.imageId, vpcId: region.vpcId, subnetId: region.subnetId, groupId: region.groupId },
  privateIp: '10.0.250.1',
  eventWindow: async (target) => region.addEventWindow(accountId, target, [{ from: 24, to: 28 }]),
  placementGroup: async (name, strategy, partitions) =>
    region.addPlacementGroup(name, strategy, partitions).groupId,
  reservedIps: ['10.0.0.0', '10.0.0.1', '10.0.0.2', '10.0.0.3', '10.0.255.255'],
}));
