/** One listener for routers, hosts and operators: each is offered what its role may call. */
import { parseIdentity, type TlsMaterial } from '#base/identity.ts';
import type { Logger } from '#base/log.ts';
import type { Handlers } from '#base/rpc/contract.ts';
import { type RpcServer, serveRpc } from '#base/rpc/server.ts';
import type { RpcStream } from '#base/rpc/stream.ts';
import { backendContract } from '#contracts/backend.ts';
import { cellOperatorContract } from '#contracts/cell-operator.ts';
import { isInternalCode, PandoError } from '#contracts/errors.ts';
import { hostContract, hostEventsContract } from '#contracts/host.ts';
import type { Cell } from './cell.ts';

const contract = { ...backendContract, ...hostEventsContract, ...cellOperatorContract } as const;
type Contract = typeof contract;
type Stream = RpcStream<Contract, typeof hostContract>;

export interface ListenerOptions {
  readonly cell: Cell;
  readonly name: string;
  readonly tls: TlsMaterial;
  readonly host: string;
  readonly port: number;
  readonly log: Logger;
}

const roles: ReadonlySet<string> = new Set(['router', 'agent', 'operator', 'region']);
const roleOf = (identity: string): string => parseIdentity(identity)?.role ?? '';

export const listen = (options: ListenerOptions): Promise<RpcServer> =>
  serveRpc<Contract, typeof hostContract>({
    tls: options.tls,
    host: options.host,
    port: options.port,
    contract,
    remote: hostContract,
    authorize: (identity) => roles.has(roleOf(identity)),
    handlers: (stream) => handlersFor(options, stream),
    onClose: (stream) => {
      const identity = parseIdentity(stream.peer);
      if (identity?.role === 'agent') options.cell.reports.gone(identity.name, stream);
    },
  });

const handlersFor = (options: ListenerOptions, stream: Stream): Handlers<Contract> => {
  const role = roleOf(stream.peer);
  if (role === 'agent') return hostHandlers(options, stream);
  return {
    ...healthHandlers(options),
    ...clientHandlers(options),
    ...(role === 'operator' ? options.cell.operator : {}),
  };
};

const healthHandlers = ({ cell, name }: ListenerOptions): Handlers<Contract> => ({
  'process.health': () => {
    const ready = cell.ready();
    const { quarantined } = cell.reports;
    const alarm = quarantined === 0 ? '' : `, ALARM: ${quarantined} VMs in quarantine`;
    const detail = `${cell.services.hosts.size} hosts${alarm}`;
    return { name, ready, detail: ready ? detail : 'the store does not answer' };
  },
});

const clientHandlers = ({ cell, log }: ListenerOptions): Handlers<Contract> => ({
  'ec2.call': async (params) => {
    try {
      return await cell.ec2Call(params);
    } catch (error) {
      if (!(error instanceof PandoError) || isInternalCode(error.code))
        log.error(
          { err: error, action: params.action, requestId: params.requestId },
          'a request failed inside',
        );
      throw error;
    }
  },
});

/** A host speaks for itself alone: the identity of its certificate is the id that it may report. */
const hostHandlers = ({ cell }: ListenerOptions, stream: Stream): Handlers<Contract> => {
  const own = parseIdentity(stream.peer)?.name;
  const check = (hostId: string): void => {
    if (hostId !== own) throw new PandoError('AccessDenied', `${stream.peer} may not speak for ${hostId}.`);
  };
  return {
    'host.hello': (params) => {
      check(params.hostId);
      return cell.reports.hello(params, stream);
    },
    'host.report': (params) => {
      check(params.hostId);
      return cell.reports.report(params);
    },
  };
};
