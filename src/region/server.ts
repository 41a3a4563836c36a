/** The region's RPC server: which function answers. Who may call it is in `#contracts/access.ts`. */
import { sql } from 'kysely';
import { loadTls } from '#base/config.ts';
import { parseIdentity } from '#base/identity.ts';
import type { AccessFacts } from '#base/rpc/access.ts';
import type { CallContext, Handlers, ParsedParams } from '#base/rpc/contract.ts';
import { type RpcServer, serveRpc } from '#base/rpc/server.ts';
import type { RpcStream } from '#base/rpc/stream.ts';
import { Turns } from '#base/turns.ts';
import {
  type Access,
  operatorAccess,
  regionAccess,
  rolloutAccess,
  rolloutHttpAccess,
  vpcChangesAccess,
} from '#contracts/access.ts';
import type { backendContract } from '#contracts/backend.ts';
import { cardContract } from '#contracts/card.ts';
import { PandoError } from '#contracts/errors.ts';
import { operatorContract } from '#contracts/operator.ts';
import { cellPushContract, regionContract } from '#contracts/region.ts';
import { rolloutContract } from '#contracts/rollout.ts';
import { rolloutHttpContract } from '#contracts/rollout-http.ts';
import { vpcChangesContract } from '#contracts/vpc-changes.ts';
import { callHandler, isKnownAction } from '#wire/actions.ts';
import { reviveInputInTurns } from '#wire/transport.ts';
import { accountCells, noteAccounts } from './account-cells.ts';
import { createAccount, findAccessKey } from './accounts.ts';
import { describeCells, retireCell, setCell } from './cell-life.ts';
import { vpcPartsFor } from './cell-parts.ts';
import { joinCell, joinGateway, leave, listCells, zonesWithCells } from './cells.ts';
import { endedRequests } from './ended-requests.ts';
import { windowsOf } from './event-windows/targets.ts';
import { findTemporaryKey } from './instance-credentials.ts';
import { createProfile, deleteProfile, listProfiles, resolveProfile } from './instance-profiles.ts';
import { changeInterface } from './interface-changes.ts';
import {
  allocateInterface,
  devicesBehind,
  interfacesOf,
  placeInterface,
  releaseInterface,
  vpcStateOf,
} from './interfaces.ts';
import { resolveLaunch, validationImage } from './launch.ts';
import { launchTemplateOf } from './launch-templates/find.ts';
import { releaseLaunchToken } from './launch-tokens.ts';
import { regionStatus, registerPublicImage } from './operator.ts';
import { createOperatorKey, deleteOperatorKey, listOperatorKeys } from './operator-keys.ts';
import { changePlacementGroup, describePlacementGroups } from './placement-groups.ts';
import { quotasOf, setQuota } from './quotas.ts';
import type { Region } from './region.ts';
import { regionTable } from './resources/index.ts';
import { serveRolloutHttp } from './rollouts/http/serve.ts';
import { vpcChangeHandlers } from './vpc-changes/handlers.ts';

const served = {
  ...{ ...regionContract, ...operatorContract },
  ...{ ...rolloutContract, ...rolloutHttpContract, ...vpcChangesContract },
} as const;
const pushed = { ...cellPushContract, ...cardContract } as const;
type Served = typeof served;
type Stream = RpcStream<Served, typeof pushed>;

const access: Access<Served> = {
  ...{ ...regionAccess, ...operatorAccess },
  ...{ ...rolloutAccess, ...rolloutHttpAccess, ...vpcChangesAccess },
};

/** What the rules have to look up. */
export const factsOf = (region: Pick<Region, 'cells' | 'interfaceOwners' | 'db'>): AccessFacts => ({
  cellNumber: (cell) => region.cells.get(cell)?.number,
  instanceOf: (eniId) => region.interfaceOwners.of(eniId),
  isInVpc: async (cellNumber, vpcId) => {
    // The cell's number is in the instance's id (S3.4): three hex digits after `i-`.
    const { rows } = await sql`
      select 1 from eni where vpc_id = ${vpcId} and instance_id like ${`i-${cellNumber.toString(16).padStart(3, '0')}%`}
      limit 1`.execute(region.db);
    return rows.length > 0;
  },
});

/** Lists of one account that are made at a time: each may take some megabytes, and connections to the store that launches need. */
const listsAtOnceMax = 4;
const listsWaitingMax = 512;
const isList = (action: string): boolean => action.startsWith('Describe');

const ec2Call = async (
  region: Region,
  lists: Turns,
  params: ParsedParams<typeof backendContract, 'ec2.call'>,
): Promise<{ output: unknown }> => {
  const { action, accountId, principal, requestId, accessKeyId } = params;
  if (!isKnownAction(action))
    throw new PandoError(
      'InvalidAction',
      `The action ${action.slice(0, 128)} is not valid for this web service.`,
    );
  const context = { region, accountId, principal, requestId, accessKeyId, action };
  const input = await reviveInputInTurns(action, params.input);
  const answer = async () => ({ output: await callHandler(regionTable, action, input, context) });
  return isList(action) ? lists.run(accountId, answer) : answer();
};

const handlersFor = (region: Region, stream: Stream, lists: Turns): Handlers<Served> => ({
  'ec2.call': (params) => ec2Call(region, lists, params),
  'process.health': async () => {
    const ready = await region.storeHealth();
    return { name: 'region', ready, ...(ready ? {} : { detail: 'the store does not answer' }) };
  },
  'region.accessKey': ({ sessionToken, ...key }) =>
    sessionToken === undefined
      ? findAccessKey(region, key)
      : findTemporaryKey(region, { ...key, sessionToken }),
  'region.cells': async () => {
    const { regionName, cellsPerAccount } = region.config;
    return { region: regionName, cells: await listCells(region), cellsPerAccount };
  },
  'region.accountCells': async ({ accountId }) => ({ cellIds: await accountCells(region.db, accountId) }),
  'region.noteAccounts': async ({ cellId, accountIds }) => {
    await noteAccounts(region.db, cellId, accountIds);
    return {};
  },
  'region.endedRequests': (params) => endedRequests(region.db, params),
  'region.zones': async () => ({ zones: await zonesWithCells(region) }),
  'region.joinCell': async (record) => {
    await joinCell(region, record, stream);
    return { region: region.config.regionName };
  },
  'region.joinGateway': async (place) => {
    await joinGateway(region, place, stream);
    return {};
  },
  'region.resolveLaunch': (params, { peer }) =>
    resolveLaunch(region, { ...params, cellId: parseIdentity(peer)?.cell }),
  'region.instanceProfile': ({ accountId, profile }) => resolveProfile(region.db, accountId, profile),
  'region.launchTemplate': (params) => launchTemplateOf(region, params),
  'region.releaseToken': async (claim) => {
    await releaseLaunchToken(region.db, claim);
    return {};
  },
  'region.allocateInterface': (params) => allocateInterface(region, params),
  'region.placeInterface': (params) => placeInterface(region, params),
  'region.changePlacementGroup': async (params) => {
    const placementGroup = await changePlacementGroup(region, params);
    return placementGroup === undefined ? {} : { placementGroup };
  },
  'region.placementGroups': async ({ groupIds }) => ({
    groups: await describePlacementGroups(region.db, groupIds),
  }),
  'region.eventWindows': async ({ instances }) => ({ windows: await windowsOf(region.db, instances) }),
  'region.changeInterface': ({ accountId, instanceId, dryRun, ...change }) =>
    changeInterface({ region, accountId }, { instanceId }, change, dryRun),
  'region.releaseInterface': async ({ instanceId }) => {
    await releaseInterface(region, instanceId);
    return {};
  },
  'region.vpcState': async ({ vpcId }) => ({ state: await vpcStateOf(region, vpcId) }),
  'region.vpcParts': (params) => vpcPartsFor(region, params),
  'region.pushVpc': async ({ vpcId }) => ({ unreachable: await devicesBehind(region, vpcId) }),
  'region.interfaces': async ({ accountId, instanceIds }) => ({
    interfaces: await interfacesOf(region, accountId, instanceIds),
  }),
  'region.validationImage': () => validationImage(region.db),
  'region.imageChunk': (params) => region.images.chunk(params),
  'operator.createAccount': ({ name }) => createAccount(region, name),
  'operator.registerImage': (params) => registerPublicImage(region, params),
  'operator.quotas': async ({ accountId }) => ({ quotas: await quotasOf(region, accountId) }),
  'operator.setQuota': async ({ accountId, name, value }) => {
    await setQuota(region, accountId, name, value);
    return {};
  },
  'operator.createProfile': (params) => createProfile(region, params),
  'operator.profiles': async ({ accountId }) => ({ profiles: await listProfiles(region, accountId) }),
  'operator.deleteProfile': async ({ accountId, name }) => {
    await deleteProfile(region, accountId, name);
    return {};
  },
  'operator.identityCertificate': () => ({ certificate: region.identityKey?.certificate }),
  'operator.cells': async () => ({ cells: await describeCells(region) }),
  'operator.setCell': async (change) => ({ cell: await setCell(region, change) }),
  'operator.retireCell': async ({ cellId }) => {
    await retireCell(region, cellId);
    return { cellId };
  },
  'operator.status': () => regionStatus(region),
  'operator.createKey': ({ operator }, { peer }) =>
    createOperatorKey(region, { operator, createdBy: `operator/${parseIdentity(peer)?.name ?? peer}` }),
  'operator.keys': async () => ({ keys: await listOperatorKeys(region.db) }),
  'operator.deleteKey': async ({ accessKeyId }) => {
    await deleteOperatorKey(region.db, accessKeyId);
    return {};
  },
  ...vpcChangeHandlers(region),
  'rollout.http': (asked, context) => {
    const { regionName } = region.config;
    const handlers = { ...region.rollouts.handlers, ...vpcChangeHandlers(region) };
    return serveRolloutHttp({ ...region, now: region.rollouts.now, handlers, regionName }, asked, context);
  },
  ...region.rollouts.handlers,
});

type Handler = (params: unknown, context: CallContext) => unknown;

/** Logs what broke inside with its cause. */
const logged = (region: Region, stream: Stream, lists: Turns): Handlers<Served> => {
  const entries = Object.entries(handlersFor(region, stream, lists)).map(([method, handler]) => {
    const inside: Handler = async (params, context) => {
      try {
        return await (handler as Handler)(params, context);
      } catch (error) {
        if (!(error instanceof PandoError))
          region.log.error({ err: error, requestId: context.requestId, method }, 'a call broke inside');
        throw error;
      }
    };
    return [method, inside];
  });
  return Object.fromEntries(entries);
};

/** Serves the region until it is closed. */
export const serveRegion = (region: Region): Promise<RpcServer> => {
  const lists = new Turns({ atOnceMax: listsAtOnceMax, waitingMax: listsWaitingMax });
  return serveRpc({
    tls: loadTls(region.config.tls),
    host: region.config.listen.host,
    port: region.config.listen.port,
    contract: served,
    remote: pushed,
    access,
    facts: factsOf(region),
    handlers: (stream: Stream) => logged(region, stream, lists),
    onClose: (stream) => leave(region, stream),
  });
};
