/** The router process: `node src/router/main.ts --config FILE [--takes-over]`; the latter beside the router that it follows. */
import { loadConfig, loadTls } from '#base/config.ts';
import { giveBackLoadingMemory } from '#base/loadingMemory.ts';
import { createLogger } from '#base/log.ts';
import { showMetrics } from '#base/metricsListener.ts';
import { keepCertificate } from '#base/renewal.ts';
import { exportSpans } from '#base/spanExport.ts';
import { routerConfig } from './config.ts';
import { startRouter } from './router.ts';

giveBackLoadingMemory();
const config = loadConfig(routerConfig);
const log = createLogger(config.name);
showMetrics(config.metrics, log);
exportSpans(config.name, log);
keepCertificate(config.tls, log);
const takesOver = process.argv.includes('--takes-over');
const router = await startRouter({ config, tls: loadTls(config.tls), log, takesOver });
log.info({ host: config.listen.host, port: router.port, region: config.regionName }, 'listening');

const stop = (signal: string): void => {
  log.info({ signal }, 'stopping');
  void router.close().then(() => process.exit(0));
};
process.once('SIGTERM', stop);
process.once('SIGINT', stop);
