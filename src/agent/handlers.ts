/** What this host does for its cell: each method of the host contract and where it is carried out. */
import type { Handlers } from '#base/rpc/contract.ts';
import { cardContract } from '#contracts/card.ts';
import type { hostContract, relayedToCard } from '#contracts/host.ts';
import { consoleOutput } from './console-log.ts';
import { destroyVm } from './destroy.ts';
import type { Host } from './host.ts';
import { launchVm } from './launch.ts';
import { cancelMigration, migrationProgress, startMigration } from './migration/source.ts';
import { flush, switchOver } from './migration/switch.ts';
import { commission, confirm } from './migration/target.ts';
import { detachNetwork, prepareNetwork } from './network.ts';
import { rebootVm, stopVm } from './power.ts';
import { absentReport } from './vm.ts';

const nothing = async (work: Promise<void>): Promise<Record<string, never>> => {
  await work;
  return {};
};

export const hostHandlers = (host: Host): Handlers<typeof hostContract> => {
  const { config, card, accelerator } = host.context;
  return {
    'host.describe': async () => ({
      ...{ hostId: config.hostId, zone: config.zone, vtep: config.vtep, capacity: config.capacity },
      ...{ accelerator, card: card.status, vms: await host.reports() },
    }),
    'vm.ensureImage': ({ command, instanceId, image }) => host.ensureImage(command, instanceId, image),
    'vm.prepareNetwork': async (params) =>
      host.commandNew(params.command, params.instanceId, (vm) => prepareNetwork(vm, params)),
    'vm.launch': (params) =>
      host.command(params.command, host.get(params.instanceId), (vm) => launchVm(vm, params)),
    'vm.stop': async ({ command, instanceId, force, graceMs }) => {
      const vm = host.find(instanceId);
      return vm === undefined
        ? { state: 'absent' }
        : host.command(command, vm, () => stopVm(vm, force, graceMs));
    },
    'vm.reboot': ({ command, instanceId }) =>
      host.command(command, host.get(instanceId), (vm) => nothing(rebootVm(vm))),
    'vm.destroy': ({ command, instanceId }) => nothing(host.destroy(command, instanceId, destroyVm)),
    'vm.detachNetwork': async ({ command, instanceId }) => {
      const vm = host.find(instanceId);
      return vm === undefined ? {} : host.command(command, vm, () => nothing(detachNetwork(vm)));
    },
    'vm.describe': async ({ instanceId }) =>
      (await host.find(instanceId)?.report()) ?? absentReport(instanceId),
    'vm.console': async ({ instanceId }) => ({
      output: await consoleOutput(host.get(instanceId).paths),
      at: new Date().toISOString(),
    }),
    'migrate.offer': ({ command, instanceId }) => host.offer(command, instanceId),
    'migrate.start': (params) =>
      host.command(params.command, host.get(params.instanceId), (vm) => nothing(startMigration(vm, params))),
    'migrate.progress': ({ instanceId }) => migrationProgress(host.get(instanceId)),
    'migrate.flush': ({ instanceId }) => nothing(flush(host.get(instanceId))),
    'migrate.switch': (params) =>
      host.urgent(params.command, host.get(params.instanceId), (vm) => switchOver(vm, params)),
    'migrate.commission': ({ command, instanceId, release }) =>
      host.urgent(command, host.get(instanceId), (vm) => commission(vm, release)),
    'migrate.confirm': ({ command, instanceId }) =>
      host.command(command, host.get(instanceId), (vm) => nothing(confirm(vm))),
    'migrate.cancel': ({ command, instanceId }) =>
      host.command(command, host.get(instanceId), (vm) => cancelMigration(vm)),
    ...relayed(host),
    'card.call': async ({ method, params }) => {
      const result = await card.relay(method, params);
      if (method === 'card.detachPort')
        await host.networkTaken(cardContract['card.detachPort'].params.parse(params).eniId);
      return { result };
    },
  };
};

/** What the cell asks of the card itself. */
const relayed = (host: Host): Handlers<typeof relayedToCard> => {
  const { card } = host.context;
  return {
    'card.status': (params) => card.call('card.status', params),
    'card.applyVpc': (params) => card.call('card.applyVpc', params),
    'card.removeVpc': (params) => card.call('card.removeVpc', params),
    'card.prepareAdministrative': (params) => card.call('card.prepareAdministrative', params),
    'card.attachPort': (params) => card.call('card.attachPort', params),
    'card.detachPort': async (params) => {
      const done = await card.call('card.detachPort', params);
      await host.networkTaken(params.eniId);
      return done;
    },
    'card.openQueue': (params) => card.call('card.openQueue', params),
    'card.setQueue': (params) => card.call('card.setQueue', params),
    'card.closeQueue': (params) => card.call('card.closeQueue', params),
    'card.plugPort': (params) => card.call('card.plugPort', params),
    'card.prepareRedirect': (params) => card.call('card.prepareRedirect', params),
    'card.redirectPort': (params) => card.call('card.redirectPort', params),
    'card.exportFlows': (params) => card.call('card.exportFlows', params),
    'card.importFlows': (params) => card.call('card.importFlows', params),
    'card.activatePort': (params) => card.call('card.activatePort', params),
    'card.counters': (params) => card.call('card.counters', params),
  };
};
