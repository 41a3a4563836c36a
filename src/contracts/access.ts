/**
 * Who may call what, and for which ids: one rule for each method of each contract. `#base/rpc` asks the rule before the handler; a
 * method without one does not compile, and is refused besides.
 */
import type { z } from 'zod';
import type { backendContract } from './backend.ts';
import type { capacityContract } from './capacity.ts';
import type { cardContract } from './card.ts';
import type { cardRebuildContract } from './card-rebuild.ts';
import type { cellOperatorContract } from './cell-operator.ts';
import type { handoverContract } from './handover.ts';
import type { hostContract, hostEventsContract } from './host.ts';
import type { Role } from './identity.ts';
import type { operatorContract } from './operator.ts';
import type { cellPushContract, regionContract } from './region.ts';
import type { rolloutContract } from './rollout.ts';
import type { rolloutHttpContract } from './rollout-http.ts';
import type { vpcChangesContract } from './vpc-changes.ts';

/** What of the parameters must belong to the caller. All that are named must hold. */
export interface Bounds<P> {
  /** The cell of the caller's certificate; undefined: none is named. */
  readonly cell?: (params: P) => string | undefined;
  /** The name in the caller's certificate. */
  readonly name?: (params: P) => string;
  /** Instances, all of the caller's cell by their ids (S3.4). */
  readonly instances?: (params: P) => readonly string[];
  /** An interface of an instance of the caller's cell. */
  readonly interface?: (params: P) => string;
  /** A VPC in which the caller's cell has an interface. */
  readonly vpc?: (params: P) => string;
  /** The caller is of the cell that is called. */
  readonly sameCell?: true;
}

export type Rule<P> = Readonly<Partial<Record<Role, 'any' | Bounds<P>>>>;

type Methods = Readonly<Record<string, { params: z.ZodType; result: z.ZodType }>>;
export type Access<C extends Methods> = { readonly [M in keyof C]: Rule<z.output<C[M]['params']>> };

const operator = { operator: 'any' } as const;
const ofOwnCell = { cell: { sameCell: true } } as const;
/** The agent that a card obeys is named in the card's configuration; a gateway obeys the region. */
const ofDevice = { agent: 'any', region: 'any' } as const;
const ofRegion = { region: 'any' } as const;

export const backendAccess = {
  'ec2.call': { router: 'any' },
  'process.health': { router: 'any', cell: 'any', gateway: 'any', agent: 'any', operator: 'any' },
} satisfies Access<typeof backendContract>;

export const capacityAccess: Access<typeof capacityContract> = { 'capacity.call': { router: 'any' } };

export const regionAccess: Access<typeof regionContract> = {
  ...backendAccess,
  'region.accessKey': { router: 'any' },
  'region.cells': { router: 'any', ...operator },
  'region.accountCells': { router: 'any' },
  'region.noteAccounts': { cell: { cell: ({ cellId }) => cellId } },
  'region.endedRequests': { cell: { cell: ({ cellId }) => cellId } },
  'region.zones': { cell: 'any' },
  'region.joinCell': { cell: { cell: ({ cellId }) => cellId } },
  'region.joinGateway': { gateway: 'any' },
  // A cell serves every account: what it asks about none of its instances yet is only looked up.
  'region.resolveLaunch': { cell: { cell: ({ claim, cellId }) => claim?.cellId ?? cellId } },
  'region.releaseToken': { cell: { cell: ({ cellId }) => cellId } },
  'region.instanceProfile': { cell: 'any' },
  'region.launchTemplate': { cell: 'any', router: 'any' },
  'region.allocateInterface': { cell: { instances: ({ instanceId }) => [instanceId] } },
  'region.changePlacementGroup': { cell: { instances: ({ instanceId }) => [instanceId] } },
  'region.placementGroups': { cell: 'any' },
  'region.eventWindows': { cell: { instances: ({ instances }) => instances.map((each) => each.instanceId) } },
  'region.changeInterface': { cell: { instances: ({ instanceId }) => [instanceId] } },
  'region.placeInterface': { cell: { interface: ({ eniId }) => eniId } },
  'region.releaseInterface': { cell: { instances: ({ instanceId }) => [instanceId] } },
  'region.vpcParts': { cell: { cell: ({ cellId }) => cellId, vpc: ({ vpcId }) => vpcId } },
  'region.vpcState': { cell: { vpc: ({ vpcId }) => vpcId }, ...operator },
  'region.pushVpc': { cell: { vpc: ({ vpcId }) => vpcId } },
  'region.interfaces': { cell: { instances: ({ instanceIds }) => instanceIds }, router: 'any' },
  'region.validationImage': { cell: 'any' },
  'region.imageChunk': { agent: 'any', cell: 'any' },
};

export const operatorAccess: Access<typeof operatorContract> = {
  'operator.createAccount': operator,
  'operator.registerImage': operator,
  'operator.quotas': operator,
  'operator.setQuota': operator,
  'operator.createProfile': operator,
  'operator.profiles': operator,
  'operator.deleteProfile': operator,
  'operator.identityCertificate': operator,
  'operator.status': operator,
  'operator.createKey': operator,
  'operator.keys': operator,
  'operator.deleteKey': operator,
  'operator.cells': operator,
  'operator.setCell': operator,
  'operator.retireCell': operator,
};

export const vpcChangesAccess: Access<typeof vpcChangesContract> = {
  'operator.vpcChanges': operator,
  'operator.tenantVersions': operator,
  'operator.restoreObject': operator,
};

/** What is in it is signed by an operator, which the region checks. */
export const rolloutHttpAccess: Access<typeof rolloutHttpContract> = { 'rollout.http': { router: 'any' } };

export const rolloutAccess: Access<typeof rolloutContract> = {
  'operator.createPolicy': operator,
  'operator.policies': operator,
  'operator.startRollout': operator,
  'operator.objectVersions': operator,
  'operator.rolloutDiff': operator,
  'operator.rollouts': operator,
  'operator.rollout': operator,
  'operator.rolloutAudit': operator,
  'operator.controlRollout': operator,
};

export const cellOperatorAccess: Access<typeof cellOperatorContract> = {
  'operator.migrate': operator,
  'operator.workflow': operator,
  'operator.workflows': operator,
  'operator.retryWorkflow': operator,
  'operator.cancelWorkflow': operator,
  'operator.hosts': operator,
  'operator.instances': operator,
  'operator.quarantined': operator,
  'operator.adoptVm': operator,
  'operator.removeVm': operator,
  'operator.capacity': operator,
  'operator.explainCapacity': operator,
  'operator.checkClaims': operator,
  'operator.pools': operator,
  'operator.setPool': operator,
  'operator.dropPool': operator,
  'operator.demand': operator,
  'operator.host': operator,
  'operator.drainHost': operator,
  'operator.rebuildHost': operator,
  'operator.deadLetters': operator,
  'operator.replayDeadLetters': operator,
  'operator.rehomeHost': operator,
};

/** A host speaks for itself alone, to its own cell. */
const itself = { agent: { name: ({ hostId }: { hostId: string }) => hostId, sameCell: true } } as const;

export const hostEventsAccess: Access<typeof hostEventsContract> = {
  'host.hello': itself,
  'host.report': itself,
};

export const cellPushAccess: Access<typeof cellPushContract> = {
  'cell.applyVpc': ofRegion,
  'cell.applyParts': ofRegion,
  'cell.objects': ofRegion,
  'cell.deviceObjects': ofRegion,
  'cell.transact': ofRegion,
  'cell.preview': ofRegion,
  'cell.confirm': ofRegion,
  'cell.probe': ofRegion,
  'cell.devices': ofRegion,
  'cell.removeVpc': ofRegion,
  'cell.instances': ofRegion,
  'cell.dedicatedHosts': ofRegion,
  'cell.contents': ofRegion,
};

export const hostAccess: Access<typeof hostContract> = {
  'host.describe': ofOwnCell,
  'host.rehome': ofOwnCell,
  'vm.ensureImage': ofOwnCell,
  'vm.prepareNetwork': ofOwnCell,
  'vm.launch': ofOwnCell,
  'vm.stop': ofOwnCell,
  'vm.reboot': ofOwnCell,
  'vm.updateMetadata': ofOwnCell,
  'vm.destroy': ofOwnCell,
  'vm.detachNetwork': ofOwnCell,
  'vm.describe': ofOwnCell,
  'vm.inspect': ofOwnCell,
  'vm.console': ofOwnCell,
  'migrate.offer': ofOwnCell,
  'migrate.start': ofOwnCell,
  'migrate.progress': ofOwnCell,
  'migrate.flush': ofOwnCell,
  'migrate.switch': ofOwnCell,
  'migrate.commission': ofOwnCell,
  'migrate.confirm': ofOwnCell,
  'migrate.cancel': ofOwnCell,
  'rebuild.condition': ofOwnCell,
  'rebuild.step': ofOwnCell,
  'card.status': ofOwnCell,
  'card.applyVpc': ofOwnCell,
  'card.objects': ofOwnCell,
  'card.transact': ofOwnCell,
  'card.preview': ofOwnCell,
  'card.confirm': ofOwnCell,
  'card.probe': ofOwnCell,
  'card.removeVpc': ofOwnCell,
  'card.prepareAdministrative': ofOwnCell,
  'card.attachPort': ofOwnCell,
  'card.detachPort': ofOwnCell,
  'card.openQueue': ofOwnCell,
  'card.setQueue': ofOwnCell,
  'card.closeQueue': ofOwnCell,
  'card.plugPort': ofOwnCell,
  'card.prepareRedirect': ofOwnCell,
  'card.redirectPort': ofOwnCell,
  'card.exportFlows': ofOwnCell,
  'card.importFlows': ofOwnCell,
  'card.activatePort': ofOwnCell,
  'card.counters': ofOwnCell,
  'card.call': ofOwnCell,
};

export const cardAccess: Access<typeof cardContract> = {
  'card.status': ofDevice,
  'card.applyVpc': ofDevice,
  'card.objects': ofDevice,
  'card.transact': ofDevice,
  'card.preview': ofDevice,
  'card.confirm': ofDevice,
  'card.probe': ofDevice,
  'card.removeVpc': ofDevice,
  'card.prepareAdministrative': ofDevice,
  'card.attachPort': ofDevice,
  'card.detachPort': ofDevice,
  'card.openQueue': ofDevice,
  'card.setQueue': ofDevice,
  'card.closeQueue': ofDevice,
  'card.plugPort': ofDevice,
  'card.prepareRedirect': ofDevice,
  'card.redirectPort': ofDevice,
  'card.exportFlows': ofDevice,
  'card.importFlows': ofDevice,
  'card.activatePort': ofDevice,
  'card.heard': ofDevice,
  'card.counters': ofDevice,
};

/** Rebuilds are between a host's agent and its own card. */
const ofAgent = { agent: 'any' } as const;
export const cardRebuildAccess: Access<typeof cardRebuildContract> = {
  'card.isolate': ofAgent,
  'card.loop': ofAgent,
  'card.scrub': ofAgent,
  'card.restart': ofAgent,
};

/** VMs move within their cell: the target's agent is of the source's. */
export const handoverAccess: Access<typeof handoverContract> = {
  'handover.ask': { agent: { sameCell: true } },
};
