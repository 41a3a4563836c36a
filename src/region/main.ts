/** The region process: `node src/region/main.ts --config FILE`. */
import { loadConfig } from '#base/config.ts';
import { giveBackLoadingMemory } from '#base/loadingMemory.ts';
import { createLogger } from '#base/log.ts';
import { showMetrics } from '#base/metricsListener.ts';
import { keepCertificate } from '#base/renewal.ts';
import { exportSpans } from '#base/spanExport.ts';
import { regionConfig } from './config.ts';
import { openRegion } from './region.ts';
import { serveRegion } from './server.ts';

giveBackLoadingMemory();
const config = loadConfig(regionConfig);
const log = createLogger('region');
showMetrics(config.metrics, log);
exportSpans('region', log);
keepCertificate(config.tls, log);
const region = await openRegion(config, log);
const server = await serveRegion(region);
log.info({ host: config.listen.host, port: server.port }, 'the region is ready');

const stop = async (): Promise<void> => {
  await server.close();
  await region.close();
};
for (const signal of ['SIGINT', 'SIGTERM'] as const)
  process.once(signal, () => {
    stop().then(
      () => process.exit(0),
      (err: unknown) => {
        log.error({ err }, 'the region did not stop cleanly');
        process.exit(1);
      },
    );
  });
