/**
 * A Unix socket that leads to the collector of spans. Processes of the data path are in network namespaces without a way there. Bytes pass
 * as they are: nothing of them is read here.
 */
import { chmodSync, mkdirSync, rmSync } from 'node:fs';
import { connect, createServer, type Socket } from 'node:net';
import { dirname } from 'node:path';

/** Two for each process of a large run. */
const connectionsMax = 256;
/** As an exporter's own patience, and some. */
const idleMsMax = 60_000;

export interface SpanRelay {
  readonly to: { readonly endpoint: string; readonly socket: string };
  close(): void;
}

const portOf = (url: URL): number => Number(url.port || (url.protocol === 'https:' ? 443 : 80));

export const relaySpans = (to: SpanRelay['to'], log: (line: string) => void): SpanRelay => {
  const url = new URL(to.endpoint);
  const open = new Set<Socket>();
  const server = createServer((near) => {
    const far = connect(portOf(url), url.hostname.replace(/^\[|\]$/g, ''));
    for (const [one, other] of [
      [near, far],
      [far, near],
    ] as const) {
      open.add(one);
      one.setTimeout(idleMsMax, () => one.destroy());
      // A collector that is away costs spans, and nothing else.
      one.on('error', () => undefined);
      one.on('close', () => {
        open.delete(one);
        other.destroy();
      });
      one.pipe(other);
    }
  });
  server.maxConnections = connectionsMax;
  server.on('error', (error) => log(`spans do not reach ${to.endpoint}: ${error.message}`));
  mkdirSync(dirname(to.socket), { recursive: true, mode: 0o711 });
  // Of an earlier supervisor.
  rmSync(to.socket, { force: true });
  // Processes of several users connect. Who passes through the run's directory may: what they reach takes spans from anybody anyway.
  server.listen(to.socket, () => chmodSync(to.socket, 0o666));
  server.unref();
  return {
    to,
    close: () => {
      server.close();
      for (const socket of open) socket.destroy();
    },
  };
};
