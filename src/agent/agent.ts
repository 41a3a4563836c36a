/** The agent put together from its configuration. */
import { join } from 'node:path';
import type { TlsMaterial } from '#base/identity.ts';
import type { Logger } from '#base/log.ts';
import { metrics, onCollect } from '#base/metrics.ts';
import { warnOfAbstractSockets } from './abstractSockets.ts';
import { chooseAccelerator } from './accelerator.ts';
import { hostCapabilities } from './capabilities.ts';
import { CardLink } from './card-link.ts';
import { CellLinks } from './cell-link.ts';
import { CellPin } from './cell-pin.ts';
import type { AgentConfig } from './config.ts';
import { hostHandlers } from './handlers.ts';
import { HealthWatch } from './health-watch.ts';
import { Host } from './host.ts';
import { openImageSource } from './image-source.ts';
import { resumeTargets, serveHandover } from './migration/handover.ts';
import { resumeSources } from './migration/source.ts';
import { HostRebuild } from './rebuild/host-rebuild.ts';
import { Machine } from './rebuild/machine.ts';
import { RebuildRecord } from './rebuild/record.ts';
import { Reporter } from './reports.ts';

const mib = 1024 ** 2;

export interface Agent {
  readonly host: Host;
  /** Lets go of everything; VMs run on. */
  close(): void;
}

/** Where the agent's code lies. */
const codeTree = join(import.meta.dirname, '..', '..');

/** Adopts what runs on this host, then dials its cell. `restart`: ends the process, which is started again. */
export const startAgent = async (
  config: AgentConfig,
  tls: TlsMaterial,
  log: Logger,
  restart: () => void,
): Promise<Agent> => {
  let reporter: Reporter | undefined;
  const changed = (): void => reporter?.poke();
  const accelerator = await chooseAccelerator(config.accelerator);
  const card = new CardLink(config.card, tls, changed);
  const images = openImageSource([config.region, ...config.regionReplicas], tls);
  const pin = await CellPin.open(config.stateDir);
  await warnOfAbstractSockets(log);
  let known: Host | undefined;
  const handover = await serveHandover(config, tls, (instanceId) => known?.find(instanceId)).catch(
    (error: unknown) => {
      log.warn({ err: error }, 'targets of migrations cannot ask this agent: they wait for their cell');
      return undefined;
    },
  );
  const record = await RebuildRecord.open(config.stateDir);
  const host = await Host.open({
    ...{ config, tls, log, card, readImage: images.read, accelerator, changed },
    hides: (instanceId) => record.state.validating === instanceId,
    handover: handover && { host: config.migrationAddress, port: handover.port },
  });
  known = host;
  const rebuild = new HostRebuild({ host, record, machine: new Machine(), codeTree, restart });
  const uncollect = onCollect(async () => {
    metrics.vms.reset();
    for (const { state } of await host.reports()) metrics.vms.inc({ state });
    const { totalMib, availableMib } = await host.disk.room();
    metrics.diskBytes.set({ amount: 'total' }, totalMib * mib);
    metrics.diskBytes.set({ amount: 'available' }, availableMib * mib);
    metrics.diskBytes.set({ amount: 'reserve' }, config.diskReserveMib * mib);
    metrics.vmsWithoutSpace.set(host.vms.filter(({ watch }) => watch.noSpace).length);
  });
  resumeSources(host.vms);
  resumeTargets(host.vms);
  const links = new CellLinks({
    cell: config.cell,
    tls,
    log,
    handlers: hostHandlers(host, pin, rebuild),
    pin,
    hello: async () => {
      const { hostId, zone, vtep, rack } = config;
      // First: with them comes what the card says of the network.
      const vms = await host.reports();
      const capacity = await host.capacity();
      return {
        ...{ hostId, zone, vtep, rack, capacity, accelerator },
        ...{ card: card.status, capabilities: hostCapabilities(), vms },
      };
    },
  });
  reporter = new Reporter(host, links, log);
  const health = new HealthWatch(host, log);
  log.info({ hostId: config.hostId, accelerator, vms: host.vms.length }, 'agent up');
  return {
    host,
    close: () => {
      uncollect();
      reporter?.close();
      health.close();
      void handover?.close();
      links.close();
      card.close();
      images.close();
      host.close();
    },
  };
};
