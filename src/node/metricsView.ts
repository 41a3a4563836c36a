/** One address at which a Prometheus of this machine reads the metrics of all processes of a run, or of one: `/metrics/NAME`. */
import { metricsServer } from '#base/metricsListener.ts';
import type { RunDirectory } from './directory.ts';
import { gatherMetrics, mergeMetrics } from './gatherMetrics.ts';

export interface MetricsView {
  readonly at: { readonly host: string; readonly port: number };
  close(): void;
}

const form = /^\/metrics(?:\/([a-z0-9-]+))?$/;

export const showAllMetrics = (
  at: MetricsView['at'],
  directory: RunDirectory,
  log: (line: string) => void,
): MetricsView => {
  const server = metricsServer((path) => {
    const [whole, name] = form.exec(path) ?? [];
    return whole === undefined ? undefined : gatherMetrics(directory, name).then(mergeMetrics);
  });
  // Metrics that cannot be shown are no reason to stop supervising.
  server.on('error', (error) => log(`metrics are not shown at ${at.host}:${at.port}: ${error.message}`));
  server.listen(at.port, at.host);
  return {
    at,
    close: () => {
      server.close();
      server.closeAllConnections();
    },
  };
};
