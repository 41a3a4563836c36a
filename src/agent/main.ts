/** The host agent's process: `node src/agent/main.ts --config FILE`, inside the host's network namespace. */
import { loadConfig, loadTls } from '#base/config.ts';
import { giveBackLoadingMemory } from '#base/loadingMemory.ts';
import { createLogger } from '#base/log.ts';
import { showMetrics } from '#base/metricsListener.ts';
import { keepCertificate } from '#base/renewal.ts';
import { exportSpans } from '#base/spanExport.ts';
import { startAgent } from './agent.ts';
import { agentConfig } from './config.ts';

giveBackLoadingMemory();
const config = loadConfig(agentConfig);
const log = createLogger(`agent ${config.hostId}`);
showMetrics(config.metrics, log, { host: config.hostId });
exportSpans(`agent-${config.hostId}`, log);
keepCertificate(config.tls, log);
const leave = (): void => {
  agent.close();
  process.exit(0);
};
const agent = await startAgent(config, loadTls(config.tls), log, leave);

for (const signal of ['SIGTERM', 'SIGINT'] as const) process.once(signal, leave);
