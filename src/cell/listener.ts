/** One listener for routers, hosts and operators. Who may call what is in `#contracts/access.ts`. */
import { parseIdentity, type TlsMaterial } from '#base/identity.ts';
import type { Logger } from '#base/log.ts';
import type { Handlers } from '#base/rpc/contract.ts';
import { type RpcServer, serveRpc } from '#base/rpc/server.ts';
import type { RpcStream } from '#base/rpc/stream.ts';
import {
  type Access,
  backendAccess,
  capacityAccess,
  cellOperatorAccess,
  hostEventsAccess,
} from '#contracts/access.ts';
import { backendContract } from '#contracts/backend.ts';
import { capacityContract } from '#contracts/capacity.ts';
import { cellOperatorContract } from '#contracts/cell-operator.ts';
import { isInternalCode, PandoError } from '#contracts/errors.ts';
import { hostContract, hostEventsContract } from '#contracts/host.ts';
import type { Cell } from './cell.ts';

const contract = {
  ...backendContract,
  ...capacityContract,
  ...hostEventsContract,
  ...cellOperatorContract,
} as const;
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

const access: Access<Contract> = {
  ...backendAccess,
  ...capacityAccess,
  ...hostEventsAccess,
  ...cellOperatorAccess,
};

export const listen = (options: ListenerOptions): Promise<RpcServer> =>
  serveRpc<Contract, typeof hostContract>({
    tls: options.tls,
    host: options.host,
    port: options.port,
    contract,
    remote: hostContract,
    access,
    handlers: (stream) => handlersFor(options, stream),
    onClose: (stream) => {
      const identity = parseIdentity(stream.peer);
      if (identity?.role === 'agent') options.cell.reports.gone(identity.name, stream);
    },
  });

const handlersFor = (options: ListenerOptions, stream: Stream): Handlers<Contract> => ({
  ...healthHandlers(options),
  ...clientHandlers(options),
  ...capacityHandlers(options),
  ...hostHandlers(options, stream),
  ...options.cell.operator,
});

const healthHandlers = ({ cell, name }: ListenerOptions): Handlers<Contract> => ({
  'process.health': () => {
    const ready = cell.ready();
    const { quarantined } = cell.reports;
    const alarm = quarantined === 0 ? '' : `, ALARM: ${quarantined} VMs in quarantine`;
    const full = cell.nearlyFull() ? ', ALARM: nearly full, make the next cell (pando cell create)' : '';
    const detail = `${cell.services.hosts.size} hosts${alarm}${full}`;
    const nearlyFull = cell.nearlyFull() && { nearlyFull: true };
    return { name, ready, detail: ready ? detail : 'the store does not answer', ...nearlyFull };
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

const capacityHandlers = ({ cell, log }: ListenerOptions): Handlers<Contract> => ({
  'capacity.call': async (params) => {
    try {
      return { output: await cell.capacityCall(params) };
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

const hostHandlers = ({ cell }: ListenerOptions, stream: Stream): Handlers<Contract> => ({
  'host.hello': (params) => cell.reports.hello(params, stream),
  'host.report': (params) => {
    // One that was refused at its hello, as of another cell or as a copy of who has moved, tells nothing of its VMs either.
    if (!cell.services.hosts.isOn(params.hostId, stream))
      throw new PandoError(
        'Conflict',
        `${params.hostId} has said no hello on this stream, or another since.`,
      );
    return cell.reports.report(params);
  },
});
