/** The request processor: `node src/cell/main.ts --config FILE`. */
import { setTimeout as delay } from 'node:timers/promises';
import { loadConfig, loadTls } from '#base/config.ts';
import { giveBackLoadingMemory } from '#base/loadingMemory.ts';
import { createLogger } from '#base/log.ts';
import { showMetrics } from '#base/metricsListener.ts';
import { openDatabase } from '#base/postgres/database.ts';
import { fullAlarm } from '#base/postgres/fullAlarm.ts';
import { listenStore } from '#base/postgres/listen.ts';
import { keepCertificate } from '#base/renewal.ts';
import { exportSpans } from '#base/spanExport.ts';
import { type Cell, createCell } from './cell.ts';
import { cellConfig } from './config.ts';
import { listen } from './listener.ts';
import { webhookClient } from './notices/webhook-client.ts';
import { RedfishPower } from './reconfiguration/redfish.ts';
import { openRegionLink } from './region-link.ts';
import type { CellSchema } from './store/sql.ts';

const storeRetryMs = 500;

giveBackLoadingMemory();
const config = loadConfig(cellConfig);
const log = createLogger(config.name);
showMetrics(config.metrics, log, { cell: config.cellId });
exportSpans(config.name, log);
keepCertificate(config.tls, log);
const tls = loadTls(config.tls);
const database = openDatabase<CellSchema>({
  url: config.databaseUrl,
  poolMax: config.poolMax,
  name: config.name,
  onConnectionError: (error) => log.warn({ err: error.message }, 'a connection to the store broke'),
  onFull: fullAlarm(log),
});
const identity = {
  cellId: config.cellId,
  cellNumber: config.cellNumber,
  processorId: config.name,
  zone: config.zone,
  /** Told by the region when it is joined. */
  region: '',
};
let cell: Cell | undefined;
const region = openRegionLink({
  tls,
  at: [config.region, ...config.regionReplicas],
  log,
  cell: () => cell,
  onJoin: (name) => {
    identity.region = name;
  },
  record: {
    cellId: config.cellId,
    number: config.cellNumber,
    processors: config.processors ?? [`${config.listen.host}:${config.listen.port}`],
    zone: config.zone,
    state: 'active',
    ...(config.takes === undefined ? {} : { takes: config.takes }),
  },
});

/** A store that is away at the start is waited for: a crash loop would help nobody. */
const start = async (): Promise<Cell> => {
  for (;;) {
    try {
      const { limits, oversubscription, hostManifest } = config;
      const { vcpus, ...parts } = config.reserve;
      const reserve = { vcpusMilli: Math.ceil(vcpus * 1000), ...parts };
      return await createCell({
        ...{ identity, limits, oversubscription, reserve, hostManifest, database, region, log },
        power: new RedfishPower(config.redfish),
        ...(config.webhooks === undefined
          ? {}
          : { webhooks: { send: webhookClient(config.webhooks), allowed: config.webhooks.allowed } }),
        listenStore: (channel, heard) =>
          listenStore({ url: config.databaseUrl, channel, heard, name: `${config.name}-listen` }),
      });
    } catch (error) {
      log.warn({ err: error }, 'the store is not ready: trying again');
      await delay(storeRetryMs);
    }
  }
};

cell = await start();
const server = await listen({ cell, name: config.name, tls, ...config.listen, log });
log.info({ cell: config.cellId, port: server.port }, 'serving');

const stop = async (): Promise<void> => {
  region.close();
  await cell?.stop().catch(() => undefined);
  await server.close();
  await database.destroy();
  process.exit(0);
};
for (const signal of ['SIGTERM', 'SIGINT'] as const) process.once(signal, () => void stop());
