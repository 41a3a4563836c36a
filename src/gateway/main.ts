/** A gateway's process. Runs inside the gateway's network namespace: `main.ts --config FILE [--teardown]`. */
import { loadConfig, loadTls } from '#base/config.ts';
import { giveBackLoadingMemory } from '#base/loadingMemory.ts';
import { createLogger } from '#base/log.ts';
import { showMetrics } from '#base/metricsListener.ts';
import { keepCertificate } from '#base/renewal.ts';
import type { Handlers } from '#base/rpc/contract.ts';
import { ReplicaClient } from '#base/rpc/replicas.ts';
import { exportSpans } from '#base/spanExport.ts';
import { joinStarterMounts } from '#card/kernel/mounts.ts';
import { requireConntrack } from '#card/kernel/requireConntrack.ts';
import { KernelWatch } from '#card/kernelWatch.ts';
import { logFailures } from '#card/logFailures.ts';
import { cardAccess } from '#contracts/access.ts';
import { cardContract } from '#contracts/card.ts';
import { regionContract } from '#contracts/region.ts';
import { gatewayMac } from './cable.ts';
import { gatewayConfig, reservedRanges } from './config.ts';
import { Gateway } from './gateway.ts';
import { clearMainNamespace, prepareMainNamespace, uplinkAddresses } from './mainNamespace.ts';

joinStarterMounts();
giveBackLoadingMemory();
const config = loadConfig(gatewayConfig);
const { name, vtep, netns, region } = config;
const log = createLogger(name);
showMetrics(config.metrics, log);
exportSpans(name, log);
keepCertificate(config.tls, log);
const gateway = new Gateway({
  vtep,
  namespacePrefix: `${config.runPrefix}${name}-`,
  stateDir: config.stateDir,
  denied: [...reservedRanges, ...config.denied, ...(await uplinkAddresses(config.uplinkDevice))],
  log,
});

if (process.argv.includes('--teardown')) {
  await gateway.device.teardown();
  await clearMainNamespace();
  process.exit(0);
}

await requireConntrack();
await prepareMainNamespace(config.uplinkDevice);
await gateway.adopt();
new KernelWatch(gateway.device.vpcs, log, config.kernelLookEveryMs).start();

const handlers: Handlers<typeof cardContract> = {
  'card.status': () => ({
    vtep,
    netns,
    startedAt: gateway.device.startedAt,
    vpcs: gateway.device.versions(),
    ports: [],
  }),
  'card.applyVpc': ({ state, from }) => gateway.applyVpc(state, from),
  'card.objects': ({ vpcIds }) => gateway.device.objects(vpcIds),
  'card.transact': (transaction) => gateway.transact(transaction),
  'card.preview': (transaction) => gateway.device.preview(transaction),
  'card.confirm': async ({ transactionId, fence }) => {
    await gateway.device.confirm(transactionId, fence);
    return {};
  },
  'card.removeVpc': async ({ vpcId }) => {
    await gateway.removeVpc(vpcId);
    return {};
  },
};
new ReplicaClient({
  tls: loadTls(config.tls),
  at: [region, ...config.regionReplicas],
  expect: region.identity,
  remote: regionContract,
  contract: cardContract,
  access: cardAccess,
  handlers: logFailures(handlers, log),
  onConnect: async (stream) => {
    await stream.call('region.joinGateway', { vtep, mac: gatewayMac(name) });
    log.info({ vtep }, 'joined the region');
  },
  onDisconnect: (reason) => log.warn({ reason }, 'no stream to the region; traffic is not affected'),
});

// The data path is the kernel's: it stays as it is.
for (const signal of ['SIGTERM', 'SIGINT'] as const) process.once(signal, () => process.exit(0));
