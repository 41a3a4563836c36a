/** `GET /metrics` of this process, on a Unix socket or a loopback address: nobody else's to read. */
import { chmodSync, mkdirSync, rmSync } from 'node:fs';
import { createServer, type Server } from 'node:http';
import { dirname } from 'node:path';
import { z } from 'zod';
import type { Logger } from './log.ts';
import { measureProcess, readMetrics, registry } from './metrics.ts';

const loopback = /^(127\.\d+\.\d+\.\d+|::1|localhost)$/;

/** Where a process shows its metrics. A process inside a network namespace has a Unix socket: those are reached from outside. */
export const metricsEndpoint = z.union([
  z.object({ socket: z.string() }),
  z.object({
    host: z.string().regex(loopback, 'must be a loopback address'),
    port: z.number().int().min(0).max(65_535),
  }),
]);
export type MetricsEndpoint = z.infer<typeof metricsEndpoint>;

const connectionsMax = 16;
const requestTimeoutMs = 5_000;

/** A server that is not listening yet. `read` gives the text of a path; undefined: there is no such path. */
export const metricsServer = (read: (path: string) => Promise<string> | undefined): Server => {
  const server = createServer({ requestTimeout: requestTimeoutMs }, (request, response) => {
    const answer = (status: number, text: string): void =>
      void response.writeHead(status, { 'content-type': registry.contentType }).end(text);
    const text = request.method === 'GET' ? read((request.url ?? '').split('?', 1)[0] ?? '') : undefined;
    if (text === undefined) return answer(404, 'There is GET /metrics here.\n');
    text.then(
      (found) => answer(200, found),
      () => answer(503, 'The metrics could not be read.\n'),
    );
  });
  server.maxConnections = connectionsMax;
  // It keeps no process alive.
  server.unref();
  return server;
};

/** Listens if that is configured. A process without metrics works all the same: what fails is logged. */
export const showMetrics = (
  endpoint: MetricsEndpoint | undefined,
  log: Logger,
  labels: Readonly<Record<string, string>> = {},
): void => {
  if (endpoint === undefined) return;
  registry.setDefaultLabels(labels);
  measureProcess();
  const server = metricsServer((path) => (path === '/metrics' ? readMetrics() : undefined));
  server.on('error', (error) =>
    log.warn({ err: error, endpoint }, 'metrics cannot be read from this process'),
  );
  if (!('socket' in endpoint)) {
    server.listen(endpoint.port, endpoint.host);
    return;
  }
  try {
    mkdirSync(dirname(endpoint.socket), { recursive: true, mode: 0o700 });
    // Of an earlier life of this process.
    rmSync(endpoint.socket, { force: true });
  } catch (error) {
    log.warn({ err: error, endpoint }, 'metrics cannot be read from this process');
    return;
  }
  server.listen(endpoint.socket, () => chmodSync(endpoint.socket, 0o600));
};
