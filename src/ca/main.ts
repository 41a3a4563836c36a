/** The certificate authority's process: `node src/ca/main.ts --config FILE`. */
import { loadConfig } from '#base/config.ts';
import { giveBackLoadingMemory } from '#base/loadingMemory.ts';
import { createLogger } from '#base/log.ts';
import { showMetrics } from '#base/metricsListener.ts';
import { caConfig } from './config.ts';
import { serveCa } from './server.ts';

giveBackLoadingMemory();
const config = loadConfig(caConfig);
const log = createLogger('ca');
showMetrics(config.metrics, log);
const server = await serveCa(config, log);
log.info({ socket: config.socket, identities: config.identities.length }, 'the certificate authority is up');

for (const signal of ['SIGTERM', 'SIGINT'] as const)
  process.once(signal, () => server.close(() => process.exit(0)));
