/** The webhook sender: `node src/webhooks/main.ts --config FILE`. The only process that connects to where clients say. */
import { loadConfig } from '#base/config.ts';
import { giveBackLoadingMemory } from '#base/loadingMemory.ts';
import { createLogger } from '#base/log.ts';
import { showMetrics } from '#base/metricsListener.ts';
import { webhooksConfig } from './config.ts';
import { serveWebhooks } from './server.ts';

giveBackLoadingMemory();
const config = loadConfig(webhooksConfig);
const log = createLogger('webhooks');
showMetrics(config.metrics, log);
const server = await serveWebhooks(config, log);
log.info({ socket: config.socket, allowed: config.allowed }, 'the webhook sender is up');

for (const signal of ['SIGTERM', 'SIGINT'] as const)
  process.once(signal, () => {
    server.close(() => process.exit(0));
    server.closeIdleConnections();
  });
