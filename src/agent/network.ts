/** The network operations of a launch (S1.2): the tap, the metadata and the place in the VPC, the latter two on the card. */
import { readFile } from 'node:fs/promises';
import type { z } from 'zod';
import { partsOf } from '#base/network/parts.ts';
import { writeKept } from '#base/writeAtomically.ts';
import { PandoError } from '#contracts/errors.ts';
import type { hostContract } from '#contracts/host.ts';
import {
  type NetworkOperation,
  type VmMetadata,
  type VpcPort,
  type VpcState,
  vmMetadata,
} from '#contracts/network.ts';
import { declarationTriesMax } from './limits.ts';
import { createTap, deleteTap, giveTap } from './tap.ts';
import type { Vm } from './vm.ts';

export type PrepareNetwork = z.output<(typeof hostContract)['vm.prepareNetwork']['params']>;
export type NetworkResults = { administrative: NetworkOperation; vpc: NetworkOperation };

/**
 * Makes the tap in our namespace and has the card record metadata and port. A tap can be opened only where it is, so
 * it stays here until the VMM holds it; the port is wired in {@link wireTap}.
 */
export const prepareNetwork = async (vm: Vm, params: PrepareNetwork): Promise<NetworkResults> => {
  const { record } = vm;
  const { port, activate } = params;
  const { vpcId, mtu } = declarationOf(params);
  if (await vm.alive()) {
    if (record.network?.port.eniId !== port.eniId)
      throw new PandoError('IncorrectInstanceState', `${record.instanceId} runs with another interface.`);
    return { administrative: record.network.administrative, vpc: record.network.vpc };
  }
  await releaseNetwork(vm);
  await createTap(record.tap, record.uid);
  const { administrative, vpc } = await attach(vm, params);
  record.network = { vpcId, port, mtu, activate, administrative, vpc, tapAt: 'host' };
  record.recovered = undefined;
  await vm.save();
  // For a cell that has lost its row of this instance; a power cut may tear it, then it is as if it had never been written.
  await writeKept(vm.paths.metadata, JSON.stringify(params.metadata));
  return { administrative, vpc };
};

const declarationOf = ({
  vpc,
  declared,
}: PrepareNetwork): { readonly vpcId: string; readonly mtu: number } => {
  const declaration = vpc ?? declared;
  if (declaration !== undefined) return declaration;
  throw new PandoError('InvalidParameterValue', 'A network is prepared in a VPC, whole or declared before.');
};

/** The metadata of a VM, if it was written down here. */
export const metadataOf = async (vm: Vm): Promise<VmMetadata | undefined> => {
  const text = await readFile(vm.paths.metadata, 'utf8').catch(() => undefined);
  try {
    return text === undefined ? undefined : vmMetadata.parse(JSON.parse(text));
  } catch {
    return undefined;
  }
};

/** Tells the card what guests read from now on. A revision that is older than one that was told is refused: it was decided earlier. */
export const updateMetadata = async (vm: Vm, metadata: VmMetadata, revision: number): Promise<void> => {
  const { network, metadataRevision = 0, instanceId } = vm.record;
  if (network === undefined)
    throw new PandoError('IncorrectInstanceState', `${instanceId} has no network prepared.`);
  if (revision < metadataRevision)
    throw new PandoError('StaleEpoch', `${instanceId} has the metadata of revision ${metadataRevision}.`);
  const { vpcId, port } = network;
  await vm.context.card.call('card.prepareAdministrative', { vpcId, eniId: port.eniId, metadata });
  vm.record.metadataRevision = revision;
  await writeKept(vm.paths.metadata, JSON.stringify(metadata));
};

/**
 * A VPC without ports may be removed from the card between its declaration and the attachment of its first port, by a processor
 * that compared the card with an older list: then it is declared again.
 */
const attach = async (vm: Vm, params: PrepareNetwork): Promise<NetworkResults> => {
  const { card } = vm.context;
  const { vpc: state, port, metadata, activate } = params;
  const { vpcId } = declarationOf(params);
  for (let tries = 1; ; tries++) {
    if (state !== undefined) await applyVpc(vm, state, port);
    const { eniId } = port;
    const administrative = await card.call('card.prepareAdministrative', { vpcId, eniId, metadata });
    try {
      const vpc = await card.call('card.attachPort', { vpcId, port, tap: vm.record.tap, activate });
      return { administrative, vpc };
    } catch (error) {
      const undeclared = PandoError.from(error).code === 'InvalidVpcID.NotFound';
      // Who told the card in parts tells it again.
      if (!undeclared || state === undefined || tries >= declarationTriesMax) throw error;
    }
  }
};

/** A card that has a newer state already is further than we are, but may have none of the port's groups: nothing here had them then. */
const applyVpc = async (vm: Vm, state: VpcState, { groupIds }: VpcPort): Promise<void> => {
  const { card } = vm.context;
  try {
    await card.call('card.applyVpc', { state });
  } catch (error) {
    if (PandoError.from(error).code !== 'StaleEpoch') throw error;
    const groups = [...partsOf(state).objects.values()].flatMap(({ kind, id, current }) =>
      kind === 'security-group' && groupIds.includes(id) && current !== undefined
        ? [{ kind, id, vpcId: state.vpcId, to: current }]
        : [],
    );
    await card.call('card.transact', { objects: groups, places: [] });
  }
};

/** The VMM has the tap open: the device moves to the card, which puts it into the VPC. Repeated: the same as once. */
export const wireTap = async (vm: Vm): Promise<void> => {
  const { network, tap } = vm.record;
  const { card, config } = vm.context;
  if (network === undefined)
    throw new PandoError('IncorrectState', `${vm.record.instanceId} has no network prepared.`);
  await giveTap(tap, config.card.netns);
  network.tapAt = 'card';
  const { vpcId, port, activate } = network;
  await card.call('card.attachPort', { vpcId, port, tap, activate });
};

/** The command: a VM that runs keeps its interface (`IncorrectInstanceState`). */
export const detachNetwork = async (vm: Vm): Promise<void> => {
  if (await vm.alive()) throw new PandoError('IncorrectInstanceState', `${vm.record.instanceId} runs.`);
  await releaseNetwork(vm);
};

/** Takes the interface away: from the card if it knows it, the tap wherever it is. Nothing prepared: nothing to do. */
export const releaseNetwork = async (vm: Vm): Promise<void> => {
  const { record, context } = vm;
  if (record.network !== undefined) {
    await context.card.call('card.detachPort', { eniId: record.network.port.eniId });
    record.network = undefined;
    await vm.save();
  } else if (record.recovered) {
    // Its own record was lost with the interface's id: the card knows what this tap belongs to.
    const { ports } = await context.card.call('card.status', {});
    for (const { eniId, tap } of ports)
      if (tap === record.tap) await context.card.call('card.detachPort', { eniId });
  }
  await deleteTap(record.tap);
};
