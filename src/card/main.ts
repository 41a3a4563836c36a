/** A card's process. Runs inside the card's network namespace: `ip netns exec CARD node main.ts --config FILE [--teardown]`. */
import { loadConfig, loadTls } from '#base/config.ts';
import { giveBackLoadingMemory } from '#base/loadingMemory.ts';
import { createLogger } from '#base/log.ts';
import { showMetrics } from '#base/metricsListener.ts';
import { keepCertificate } from '#base/renewal.ts';
import { withFormerNames } from '#base/rpc/formerNames.ts';
import { serveRpc } from '#base/rpc/server.ts';
import { exportSpans } from '#base/spanExport.ts';
import { cardAccess, cardRebuildAccess } from '#contracts/access.ts';
import { cardContract, formerCardMethods } from '#contracts/card.ts';
import { cardRebuildContract } from '#contracts/card-rebuild.ts';
import { isExpected } from '#contracts/identity.ts';
import { Card } from './card.ts';
import { cardConfig } from './config.ts';
import { cardHandlers } from './handlers.ts';
import { Hearing } from './hearing.ts';
import { Isolation } from './isolation.ts';
import { joinStarterMounts } from './kernel/mounts.ts';
import { requireConntrack } from './kernel/requireConntrack.ts';
import { UnderlayDevice } from './kernel/underlayDevice.ts';
import { KernelWatch } from './kernelWatch.ts';
import { logFailures } from './logFailures.ts';
import { loadTokenKey } from './metadata/tokenKey.ts';
import { machineVariable, Programs, programVariable } from './program/programs.ts';
import { Queues } from './queues.ts';
import { cardRebuildHandlers } from './rebuild.ts';
import { Services } from './services.ts';
import { Underlay } from './underlay.ts';

/** From the order to begin anew until it is obeyed. */
const restartAfterMs = 50;

joinStarterMounts();
giveBackLoadingMemory();
const config = loadConfig(cardConfig);
const log = createLogger(`card-${config.name}`);
showMetrics(config.metrics, log);
exportSpans(`card-${config.name}`, log);
keepCertificate(config.tls, log);
const hearing = new Hearing();
const programs = new Programs({
  ...{ stateDir: config.stateDir, programsDir: config.programsDir },
  ...{ running: process.env[programVariable], machines: process.env[machineVariable] },
  end: () => process.exit(0),
});
const card = new Card({
  vtep: config.vtep,
  namespacePrefix: `${config.runPrefix}${config.name}-`,
  stateDir: config.stateDir,
  services: new Services({
    ...{ stateDir: config.stateDir, tokenKey: await loadTokenKey(config.stateDir), log, hearing },
  }),
  ...{ log, hearing, emptyVpcKeptMs: config.emptyVpcKeptMs },
  underlay: new Underlay(config.underlayDevice, config.stateDir),
  programs,
});

if (process.argv.includes('--teardown')) {
  await card.device.teardown();
  process.exit(0);
}

await requireConntrack();
const isolation = new Isolation(config.stateDir, config.underlayDevice);
await isolation.adopt();
await card.adopt();
new KernelWatch(card.device.vpcs, log, config.kernelLookEveryMs).start();
const underlay = new UnderlayDevice(config.netns, config.underlayDevice);
const self = { vtep: config.vtep, netns: config.netns, underlay, program: () => programs.version };
const handlers = logFailures(cardHandlers(card, new Queues(config.vtep), self), log);
const rebuildHandlers = logFailures(
  cardRebuildHandlers({
    ...{ device: card.device, isolation, stateDir: config.stateDir, underlayDevice: config.underlayDevice },
    // The answer is on its way first.
    restart: () => void setTimeout(() => process.exit(0), restartAfterMs),
  }),
  log,
);
const { agentIdentity } = config;
const server = await serveRpc({
  tls: loadTls(config.tls),
  host: config.listen.host,
  port: config.listen.port,
  contract: { ...withFormerNames(cardContract, formerCardMethods), ...cardRebuildContract },
  remote: {},
  access: { ...withFormerNames(cardAccess, formerCardMethods), ...cardRebuildAccess },
  authorize: (identity) => isExpected(agentIdentity, identity),
  handlers: () => {
    card.device.reached();
    return { ...withFormerNames(handlers, formerCardMethods), ...rebuildHandlers };
  },
});
log.info({ port: server.port, vtep: config.vtep }, 'card is up');

// The data path is the kernel's: it stays as it is.
for (const signal of ['SIGTERM', 'SIGINT'] as const) process.once(signal, () => process.exit(0));
