/** The region's RPC server: who may call what, and which function answers. */
import { loadTls } from '#base/config.ts';
import { parseIdentity } from '#base/identity.ts';
import type { CallContext, Handlers } from '#base/rpc/contract.ts';
import { type RpcServer, serveRpc } from '#base/rpc/server.ts';
import type { RpcStream } from '#base/rpc/stream.ts';
import { cardContract } from '#contracts/card.ts';
import { PandoError } from '#contracts/errors.ts';
import { operatorContract } from '#contracts/operator.ts';
import { cellPushContract, regionContract } from '#contracts/region.ts';
import { callHandler, isKnownAction } from '#wire/actions.ts';
import { reviveInput } from '#wire/transport.ts';
import { createAccount, findAccessKey } from './accounts.ts';
import { joinCell, joinGateway, leave, listCells } from './cells.ts';
import { changeInterface } from './interface-changes.ts';
import {
  allocateInterface,
  interfacesOf,
  placeInterface,
  releaseInterface,
  vpcStateOf,
} from './interfaces.ts';
import { resolveLaunch } from './launch.ts';
import { regionStatus, registerPublicImage } from './operator.ts';
import type { Region } from './region.ts';
import { regionActions } from './resources/index.ts';

const served = { ...regionContract, ...operatorContract } as const;
const pushed = { ...cellPushContract, ...cardContract } as const;
type Served = typeof served;
type Stream = RpcStream<Served, typeof pushed>;

const roles = ['router', 'cell', 'gateway', 'agent', 'operator'] as const;
type Role = (typeof roles)[number];

/** Which roles may call a method. The operator may look, and may do what is his; he does not pass for a router or cell. */
const mayCall: Readonly<Record<keyof Served, readonly Role[]>> = {
  'ec2.call': ['router'],
  'process.health': roles,
  'region.accessKey': ['router'],
  'region.cells': ['router', 'operator'],
  'region.joinCell': ['cell'],
  'region.joinGateway': ['gateway'],
  'region.resolveLaunch': ['cell'],
  'region.allocateInterface': ['cell'],
  'region.placeInterface': ['cell'],
  'region.changeInterface': ['cell'],
  'region.releaseInterface': ['cell'],
  'region.vpcState': ['cell', 'operator'],
  'region.interfaces': ['cell', 'router'],
  'region.imageChunk': ['agent', 'cell'],
  'operator.createAccount': ['operator'],
  'operator.registerImage': ['operator'],
  'operator.status': ['operator'],
};

const roleOf = (identity: string): Role | undefined =>
  roles.find((role) => role === parseIdentity(identity)?.role);

const ec2Call = async (
  region: Region,
  params: { requestId: string; accountId: string; principal: string; action: string; input: unknown },
): Promise<{ output: unknown }> => {
  const { action, accountId, principal, requestId } = params;
  if (!isKnownAction(action))
    throw new PandoError(
      'InvalidAction',
      `The action ${action.slice(0, 128)} is not valid for this web service.`,
    );
  const context = { region, accountId, principal, requestId };
  return { output: await callHandler(regionActions, action, reviveInput(action, params.input), context) };
};

const handlersFor = (region: Region, stream: Stream): Handlers<Served> => ({
  'ec2.call': (params) => ec2Call(region, params),
  'process.health': async () => {
    const ready = await region.storeHealth();
    return { name: 'region', ready, ...(ready ? {} : { detail: 'the store does not answer' }) };
  },
  'region.accessKey': ({ accessKeyId }) => findAccessKey(region, accessKeyId),
  'region.cells': async () => ({ region: region.config.regionName, cells: await listCells(region) }),
  'region.joinCell': async (record) => {
    await joinCell(region, record, stream);
    return { region: region.config.regionName };
  },
  'region.joinGateway': async (place) => {
    await joinGateway(region, place, stream);
    return {};
  },
  'region.resolveLaunch': (params) => resolveLaunch(region, params),
  'region.allocateInterface': (params) => allocateInterface(region, params),
  'region.placeInterface': (params) => placeInterface(region, params),
  'region.changeInterface': ({ accountId, instanceId, dryRun, ...change }) =>
    changeInterface({ region, accountId }, { instanceId }, change, dryRun),
  'region.releaseInterface': async ({ instanceId }) => {
    await releaseInterface(region, instanceId);
    return {};
  },
  'region.vpcState': async ({ vpcId }) => ({ state: await vpcStateOf(region, vpcId) }),
  'region.interfaces': async ({ accountId, instanceIds }) => ({
    interfaces: await interfacesOf(region, accountId, instanceIds),
  }),
  'region.imageChunk': (params) => region.images.chunk(params),
  'operator.createAccount': ({ name }) => createAccount(region, name),
  'operator.registerImage': (params) => registerPublicImage(region, params),
  'operator.status': () => regionStatus(region),
});

type Handler = (params: unknown, context: CallContext) => unknown;

/** Puts the role check before every handler, and logs what broke inside with its cause. */
const guarded = (region: Region, stream: Stream, role: Role): Handlers<Served> => {
  const handlers: Handlers<Served> = handlersFor(region, stream);
  const entries = Object.entries(handlers).map(([method, handler]) => {
    const allowed = mayCall[method as keyof Served].includes(role);
    const checked: Handler = async (params, context) => {
      if (!allowed) throw new PandoError('UnauthorizedOperation', `${role} may not call ${method}.`);
      try {
        return await (handler as Handler)(params, context);
      } catch (error) {
        if (!(error instanceof PandoError))
          region.log.error({ err: error, requestId: context.requestId, method }, 'a call broke inside');
        throw error;
      }
    };
    return [method, checked];
  });
  return Object.fromEntries(entries);
};

/** Serves the region until it is closed. */
export const serveRegion = (region: Region): Promise<RpcServer> =>
  serveRpc({
    tls: loadTls(region.config.tls),
    host: region.config.listen.host,
    port: region.config.listen.port,
    contract: served,
    remote: pushed,
    authorize: (identity) => roleOf(identity) !== undefined,
    handlers: (stream: Stream) => guarded(region, stream, roleOf(stream.peer) ?? 'agent'),
    onClose: (stream) => leave(region, stream),
  });
