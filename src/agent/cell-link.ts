/** A stream to every request processor of the cell; the death of one costs nothing to the others. */
import type { TlsMaterial } from '#base/identity.ts';
import type { Logger } from '#base/log.ts';
import { RpcClient } from '#base/rpc/client.ts';
import type { Handlers, Params } from '#base/rpc/contract.ts';
import type { RpcStream } from '#base/rpc/stream.ts';
import { hostAccess } from '#contracts/access.ts';
import { hostContract, hostEventsContract } from '#contracts/host.ts';
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
  hello(): Promise<Hello>;
}

const parseAddress = (address: string): { host: string; port: number } => {
  const at = address.lastIndexOf(':');
  return { host: address.slice(0, at).replace(/^\[|\]$/g, ''), port: Number(address.slice(at + 1)) };
};

export class CellLinks {
  readonly #clients: Client[];
  readonly #options: CellLinksOptions;
  #reportEveryMs = reportEveryMsDefault;

  constructor(options: CellLinksOptions) {
    this.#options = options;
    this.#clients = options.cell.processors.map((address) => this.#dial(address));
  }

  /** As the cell asked last. */
  get reportEveryMs(): number {
    return this.#reportEveryMs;
  }

  #dial(address: string): Client {
    const { cell, tls, log, handlers } = this.#options;
    return new RpcClient({
      tls,
      ...parseAddress(address),
      expect: cell.identityPrefix,
      remote: hostEventsContract,
      contract: hostContract,
      access: hostAccess,
      handlers,
      onConnect: async (stream) => {
        try {
          await this.#hello(stream);
        } catch (error) {
          log.warn({ err: error, address }, 'the cell refused this host');
          throw error;
        }
      },
      onDisconnect: (reason) => log.info({ address, reason }, 'processor lost'),
    });
  }

  async #hello(stream: Stream): Promise<void> {
    const { cellId, reportEveryMs } = await stream.call('host.hello', await this.#options.hello());
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
