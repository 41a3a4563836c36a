/** What the region answers its operator about tenants' changes. */
import type { Handlers } from '#base/rpc/contract.ts';
import { parseIdentity } from '#contracts/identity.ts';
import type { vpcChangesContract } from '#contracts/vpc-changes.ts';
import type { Region } from '../region.ts';
import { listVpcChanges } from './list.ts';
import { restoreObject, tenantVersions } from './restore.ts';

export const vpcChangeHandlers = (region: Region): Required<Handlers<typeof vpcChangesContract>> => ({
  'operator.vpcChanges': (asked) => listVpcChanges(region.db, asked),
  'operator.tenantVersions': async (object) => ({ versions: await tenantVersions(region.db, object) }),
  'operator.restoreObject': (request, { peer, requestId }) =>
    restoreObject(region, { ...request, requestId, who: `operator/${parseIdentity(peer)?.name ?? peer}` }),
});
