/** What this host does for its cell: each method of the host contract and where it is carried out. */
import type { Handlers } from '#base/rpc/contract.ts';
import { cardContract } from '#contracts/card.ts';
import type { hostContract, RelayKey, relayedToCard } from '#contracts/host.ts';
import type { CellPin } from './cell-pin.ts';
import { consoleOutput } from './console-log.ts';
import { destroyVm } from './destroy.ts';
import type { Host } from './host.ts';
import { launchVm } from './launch.ts';
import { cancelMigration, migrationProgress, startMigration } from './migration/source.ts';
import { flush, switchOver } from './migration/switch.ts';
import { commission, confirm } from './migration/target.ts';
import { detachNetwork, metadataOf, prepareNetwork, updateMetadata } from './network.ts';
import { rebootVm, stopVm } from './power.ts';
import type { HostRebuild } from './rebuild/host-rebuild.ts';
import { absentReport } from './vm.ts';

const nothing = async (work: Promise<void>): Promise<Record<string, never>> => {
  await work;
  return {};
};

export const hostHandlers = (
  host: Host,
  pin: CellPin,
  rebuild: HostRebuild,
): Handlers<typeof hostContract> => {
  const { config, card, accelerator, log } = host.context;
  return {
    'host.describe': async () => ({
      ...{ hostId: config.hostId, zone: config.zone, vtep: config.vtep, capacity: await host.capacity() },
      ...{ accelerator, card: card.status, vms: await host.reports() },
    }),
    'host.rehome': async ({ to, generation }) => {
      await pin.rehome(to, generation, () => host.vms.length === 0);
      await rebuild.rehomed();
      log.warn({ to, generation }, 'this host belongs to another cell from now on');
      return { generation };
    },
    'vm.ensureImage': async ({ command, instanceId, image }) => {
      rebuild.assertOpen();
      return host.ensureImage(command, instanceId, image);
    },
    'vm.prepareNetwork': async (params) => {
      // No wait from here until the VM is known: who looks whether the host is empty sees it.
      rebuild.assertOpen();
      return host.commandNew(params.command, params.instanceId, (vm) => prepareNetwork(vm, params));
    },
    'vm.launch': async (params) => {
      rebuild.assertOpen();
      return host.command(params.command, host.commanded(params.command, params.instanceId), (vm) =>
        launchVm(vm, params),
      );
    },
    'vm.stop': async ({ command, instanceId, force, graceMs }) => {
      const vm = host.find(instanceId);
      if (vm !== undefined) return host.command(command, vm, () => stopVm(vm, force, graceMs));
      await host.pass(command, instanceId);
      return { state: 'absent' };
    },
    'vm.reboot': ({ command, instanceId }) =>
      host.visit(command, host.commanded(command, instanceId, true), (vm) => nothing(rebootVm(vm))),
    'vm.updateMetadata': ({ command, instanceId, metadata, revision }) =>
      host.visit(command, host.commanded(command, instanceId, true), (vm) =>
        nothing(updateMetadata(vm, metadata, revision)),
      ),
    'vm.destroy': ({ command, instanceId }) => nothing(host.destroy(command, instanceId, destroyVm)),
    'vm.detachNetwork': async ({ command, instanceId }) => {
      const vm = host.find(instanceId);
      if (vm !== undefined) return host.command(command, vm, () => nothing(detachNetwork(vm)));
      await host.pass(command, instanceId);
      return {};
    },
    'vm.describe': async ({ instanceId }) =>
      (await host.find(instanceId)?.report()) ?? absentReport(instanceId),
    'vm.inspect': async ({ instanceId }) => {
      const vm = host.get(instanceId);
      const { image, network } = vm.record;
      const place = network === undefined ? undefined : { vpcId: network.vpcId, port: network.port };
      return { report: await vm.report(), image, network: place, metadata: await metadataOf(vm) };
    },
    'vm.console': async ({ instanceId }) => ({
      output: await consoleOutput(host.get(instanceId).paths),
      at: new Date().toISOString(),
    }),
    'migrate.offer': ({ command, instanceId }) => host.offer(command, instanceId),
    'migrate.start': (params) =>
      host.command(params.command, host.commanded(params.command, params.instanceId), (vm) =>
        nothing(startMigration(vm, params)),
      ),
    'migrate.progress': async ({ command, instanceId }) => {
      await host.pass(command, instanceId);
      return migrationProgress(host.get(instanceId));
    },
    'migrate.flush': async ({ command, instanceId }) => {
      await host.pass(command, instanceId);
      return nothing(flush(host.get(instanceId)));
    },
    'migrate.switch': (params) =>
      host.urgent(params.command, host.commanded(params.command, params.instanceId), (vm) =>
        switchOver(vm, params),
      ),
    'migrate.commission': ({ command, instanceId, release }) =>
      host.urgent(command, host.commanded(command, instanceId), (vm) => commission(vm, release)),
    'migrate.confirm': ({ command, instanceId }) =>
      host.command(command, host.commanded(command, instanceId), (vm) => nothing(confirm(vm))),
    'migrate.cancel': ({ command, instanceId }) =>
      host.command(command, host.commanded(command, instanceId), (vm) => cancelMigration(vm)),
    ...rebuild.handlers,
    ...relayed(host),
    'card.call': async ({ command, instanceId, method, params }) => {
      await host.pass(command, instanceId);
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
  const passed = async <T>({ command, instanceId }: RelayKey, work: () => Promise<T>): Promise<T> => {
    await host.pass(command, instanceId);
    return work();
  };
  return {
    'card.status': (params) => passed(params, () => card.call('card.status', {})),
    'card.applyVpc': (params) => passed(params, () => card.call('card.applyVpc', params)),
    'card.objects': (params) => passed(params, () => card.call('card.objects', params)),
    'card.transact': (params) => passed(params, () => card.call('card.transact', params)),
    'card.preview': (params) => passed(params, () => card.call('card.preview', params)),
    'card.confirm': (params) => passed(params, () => card.call('card.confirm', params)),
    'card.probe': (params) => passed(params, () => card.call('card.probe', params)),
    'card.removeVpc': (params) => passed(params, () => card.call('card.removeVpc', params)),
    'card.prepareAdministrative': (params) =>
      passed(params, () => card.call('card.prepareAdministrative', params)),
    'card.attachPort': (params) => passed(params, () => card.call('card.attachPort', params)),
    'card.detachPort': (params) =>
      passed(params, async () => {
        const done = await card.call('card.detachPort', params);
        await host.networkTaken(params.eniId);
        return done;
      }),
    'card.openQueue': (params) => passed(params, () => card.call('card.openQueue', params)),
    'card.setQueue': (params) => passed(params, () => card.call('card.setQueue', params)),
    'card.closeQueue': (params) => passed(params, () => card.call('card.closeQueue', params)),
    'card.plugPort': (params) => passed(params, () => card.call('card.plugPort', params)),
    'card.prepareRedirect': (params) => passed(params, () => card.call('card.prepareRedirect', params)),
    'card.redirectPort': (params) => passed(params, () => card.call('card.redirectPort', params)),
    'card.exportFlows': (params) => passed(params, () => card.call('card.exportFlows', params)),
    'card.importFlows': (params) => passed(params, () => card.call('card.importFlows', params)),
    'card.activatePort': (params) => passed(params, () => card.call('card.activatePort', params)),
    'card.counters': (params) => passed(params, () => card.call('card.counters', {})),
  };
};
