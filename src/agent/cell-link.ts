/** A stream to every request processor of the cell; the death of one costs nothing to the others. */
import type { TlsMaterial } from '#base/identity.ts';
import type { Logger } from '#base/log.ts';
import { RpcClient } from '#base/rpc/client.ts';
import type { CallContext, Handlers, Params } from '#base/rpc/contract.ts';
import type { RpcStream } from '#base/rpc/stream.ts';
import { hostAccess } from '#contracts/access.ts';
import { PandoError } from '#contracts/errors.ts';
import { hostContract, hostEventsContract } from '#contracts/host.ts';
import type { CellPin } from './cell-pin.ts';
import type { AgentConfig } from './config.ts';
import { reportEveryMsDefault, reportEveryMsMin } from './limits.ts';

type Events = typeof hostEventsContract;
type Client = RpcClient<typeof hostContract, Events>;
type Stream = RpcStream<typeof hostContract, Events>;
export type Hello = Params<Events, 'host.hello'>;
export type HostReport = Params<Events, 'host.report'>;

const reportTimeoutMs = 5_000;

export interface CellLinksOptions {
  readonly cell: AgentConfig['cell'];
  readonly tls: TlsMaterial;
  readonly log: Logger;
  readonly handlers: Handlers<typeof hostContract>;
  readonly pin: CellPin;
  hello(): Promise<Hello>;
}

const parseAddress = (address: string): { host: string; port: number } => {
  const at = address.lastIndexOf(':');
  return { host: address.slice(0, at).replace(/^\[|\]$/g, ''), port: Number(address.slice(at + 1)) };
};

type Admission = (peer: string) => Promise<void> | undefined;

/** Serves no call before its processor's cell was found to be this host's, and none about an instance of another cell. */
const behind = (
  admissionOf: Admission,
  pin: CellPin,
  handlers: CellLinksOptions['handlers'],
): CellLinksOptions['handlers'] => {
  const guarded = Object.entries(handlers).map(([method, handler]) => [
    method,
    async (params: object, context: CallContext) => {
      const admission = admissionOf(context.peer);
      if (admission === undefined)
        throw new PandoError('AccessDenied', `${context.peer} has not been greeted.`);
      await admission;
      // The order to move is answered again where its answer was lost.
      if (method !== 'host.rehome') pin.checkPeer(context.peer);
      if ('instanceId' in params && typeof params.instanceId === 'string')
        pin.checkInstance(params.instanceId);
      return Reflect.apply(handler, undefined, [params, context]);
    },
  ]);
  return Object.fromEntries(guarded);
};

export class CellLinks {
  readonly #clients: Client[];
  readonly #options: CellLinksOptions;
  #reportEveryMs = reportEveryMsDefault;
  /** By the identity of each processor: whether its cell was found to be ours. Calls wait for that. */
  readonly #admissions = new Map<string, Promise<void>>();

  constructor(options: CellLinksOptions) {
    this.#options = options;
    this.#clients = options.cell.processors.map((address) => this.#dial(address));
  }

  /** As the cell asked last. */
  get reportEveryMs(): number {
    return this.#reportEveryMs;
  }

  #dial(address: string): Client {
    const { cell, tls, log, handlers, pin } = this.#options;
    return new RpcClient({
      tls,
      ...parseAddress(address),
      expect: cell.identityPrefix,
      remote: hostEventsContract,
      contract: hostContract,
      access: hostAccess,
      handlers: behind((peer) => this.#admissions.get(peer), pin, handlers),
      onConnect: async (stream) => {
        try {
          // Noted before the hello is sent: a cell may call as soon as it has answered.
          const admission = this.#hello(stream);
          this.#admissions.set(stream.peer, admission);
          await admission;
        } catch (error) {
          log.error({ err: error, address }, 'this host and the cell that it dialled do not belong together');
          throw error;
        }
      },
      onDisconnect: (reason) => log.info({ address, reason }, 'processor lost'),
    });
  }

  async #hello(stream: Stream): Promise<void> {
    const { pin } = this.#options;
    const { current } = pin;
    const pinnedTo =
      current === undefined
        ? undefined
        : { cellId: current.cellId, region: current.region, generation: current.generation };
    const answer = await stream.call('host.hello', { ...(await this.#options.hello()), pinnedTo });
    const { cellId, reportEveryMs, region, cellNumber } = answer;
    await pin.accept(stream.peer, { cellId, region, cellNumber });
    this.#reportEveryMs = Math.max(reportEveryMs, reportEveryMsMin);
    this.#options.log.info({ peer: stream.peer, cellId }, 'joined the cell');
  }

  /** Sends a report to every processor that is connected; one that does not take it gets the next. */
  async report(report: HostReport): Promise<void> {
    const connected = this.#clients.filter((client) => client.connected);
    await Promise.allSettled(
      connected.map((client) => client.call('host.report', report, { timeoutMs: reportTimeoutMs })),
    );
  }

  close(): void {
    for (const client of this.#clients) client.close();
  }
}
