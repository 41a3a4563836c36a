/** The card's contract over a card. */
import type { Handlers } from '#base/rpc/contract.ts';
import { type cardContract, presentQueueMode } from '#contracts/card.ts';
import type { Card } from './card.ts';
import type { UnderlayDevice } from './kernel/underlayDevice.ts';
import type { Queues } from './queues.ts';

/** Silence after which the queue of a port that is gone is closed. */
const detachedIdleMs = 50;

export const cardHandlers = (
  card: Card,
  queues: Queues,
  {
    underlay,
    program,
    ...self
  }: {
    readonly vtep: string;
    readonly netns: string;
    /** The version that runs. */
    readonly program: () => string;
    readonly underlay: UnderlayDevice;
  },
): Handlers<typeof cardContract> => ({
  'card.status': () => ({
    ...self,
    startedAt: card.device.startedAt,
    program: program(),
    vpcs: card.device.versions(),
    ports: card.ports().map(({ vpcId, local: { port, tap } }) => ({
      eniId: port.eniId,
      vpcId,
      tap,
      epoch: port.epoch,
    })),
  }),
  'card.applyVpc': ({ state, from }) => card.applyVpc(state, from),
  'card.objects': ({ vpcIds }) => card.device.objects(vpcIds),
  'card.transact': (transaction) => card.transact(transaction),
  'card.preview': (transaction) => card.device.preview(transaction),
  'card.confirm': async ({ transactionId, fence }) => {
    await card.device.confirm(transactionId, fence);
    return {};
  },
  'card.probe': (request) => card.probe(request),
  'card.removeVpc': async ({ vpcId }) => {
    await card.removeVpc(vpcId);
    return {};
  },
  'card.prepareAdministrative': ({ vpcId, eniId, metadata }) =>
    card.prepareAdministrative(vpcId, eniId, metadata),
  'card.attachPort': ({ vpcId, port, tap, activate }) => card.attachPort(vpcId, port, tap, activate),
  'card.detachPort': async ({ eniId, forwardTo }) => {
    await card.detachPort(eniId, forwardTo);
    // What is still in it goes where it was told.
    void queues.drop(eniId, detachedIdleMs).catch(() => undefined);
    return {};
  },
  'card.openQueue': async ({ eniId, mode, passTo, lapse }) => {
    await card.expectPort(eniId);
    return queues.open(eniId, { mode: presentQueueMode(mode), passTo, lapse });
  },
  'card.setQueue': ({ eniId, mode, ...change }) =>
    queues.set(eniId, { mode: presentQueueMode(mode), ...change }),
  'card.closeQueue': ({ eniId, idleMs }) => queues.close(eniId, idleMs),
  'card.plugPort': async ({ eniId }) => {
    await card.plugPort(eniId);
    return {};
  },
  'card.prepareRedirect': async ({ eniId, to }) => {
    await card.prepareRedirect(eniId, to);
    return {};
  },
  'card.redirectPort': async ({ eniId, to, lapseMs, keep }) => {
    if (keep && to !== undefined) await card.keepRedirect(eniId, to);
    else await card.redirectPort(eniId, to, lapseMs);
    return {};
  },
  'card.exportFlows': async ({ eniId }) => ({ flows: await card.exportFlows(eniId) }),
  'card.importFlows': async ({ eniId, flows }) => {
    await card.importFlows(eniId, flows);
    return {};
  },
  'card.activatePort': async ({ eniId }) => {
    await card.activatePort(eniId);
    return {};
  },
  'card.heard': ({ probe = [] }) => ({ ports: card.heard(probe) }),
  'card.counters': async () => ({
    ports: await card.counters(),
    underlay: await underlay.counters(),
  }),
});
