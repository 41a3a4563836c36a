/** Requests for capacity in one cell, put together: the queue, what clients ask of it, launches with offers. */
import { createHmac } from 'node:crypto';
import { callbackObjection, parseRanges } from '#base/publicAddress.ts';
import { demandTypesMaxDefault } from '#slots/demand.ts';
import { reviveInput } from '#wire/transport.ts';
import type { In } from '#wire/types.ts';
import * as limits from '../limits.ts';
import type { PeriodicTask } from '../periodic-tasks.ts';
import type { CellServices } from '../services.ts';
import { purgeRequests, readWaitedFor } from '../store/capacity-requests.ts';
import { sharedSecret } from '../store/settings.ts';
import { Companions } from './companions.ts';
import { Deliveries, type SendWebhook } from './deliveries.ts';
import { Offers } from './offers.ts';
import { CapacityQueue } from './queue.ts';
import { type CapacityCaller, CapacityRequests, type CapacityRequestsOptions } from './requests.ts';
import { release, withdraw } from './withdraw.ts';

export type CapacityCall = CapacityRequests['call'];

export interface NoticesOptions {
  readonly services: CellServices;
  readonly owner: string;
  sized(input: In<'RunInstances'>, caller: CapacityCaller): ReturnType<CapacityRequestsOptions['sizeLaunch']>;
  /** So many instances of a type wait; 0: none any more (S10.6). */
  demand(type: string, count: number): void;
  listenStore?(channel: string, heard: () => void): () => void;
  readonly webhooks?: WebhooksOptions | undefined;
}

export interface WebhooksOptions {
  readonly send: SendWebhook;
  /** Ranges that callbacks may name beside public addresses. */
  readonly allowed: readonly string[];
}

export interface Notices {
  readonly offers: Offers;
  readonly call: CapacityCall;
  readonly tasks: readonly PeriodicTask[];
  close(): void;
}

const freedChannel = 'pando_capacity_freed';

export const openNotices = async ({
  services,
  owner,
  sized,
  demand,
  listenStore,
  webhooks,
}: NoticesOptions): Promise<Notices> => {
  const secret = await sharedSecret(services.db, 'webhooks');
  const told = (): void => {
    requests.told();
    deliveries?.hint();
    companions.hint();
  };
  const secretOf = (requestId: string): string => signingSecretOf(secret, requestId);
  const queue = new CapacityQueue({ services, owner, told, elsewhereHeard: () => companions.heard() });
  const requests: CapacityRequests = new CapacityRequests({
    services,
    queue,
    sizeLaunch: (run, caller) =>
      sized(reviveInput('RunInstances', run) as unknown as In<'RunInstances'>, caller),
    signingSecretOf: secretOf,
    callbackObjection: callbackCheck(webhooks),
  });
  const companions: Companions = new Companions({
    services,
    end: (requestId, message) => requests.end(requestId, message),
    withdraw: (requestId, by) => withdraw({ services, queue, told }, requestId, by),
    release: (requestId) => release({ services, queue, told }, requestId),
  });
  const deliveries = webhooks && new Deliveries({ services, send: webhooks.send, signingSecretOf: secretOf });
  let demanded: ReadonlySet<string> = new Set();
  const tellPools = (waited: readonly { readonly type: string; readonly count: number }[]): void => {
    const now = new Set(waited.map(({ type }) => type));
    for (const type of demanded) if (!now.has(type)) demand(type, 0);
    for (const { type, count } of waited) demand(type, count);
    demanded = now;
  };
  const close = listenStore?.(freedChannel, () => queue.hint());
  return {
    offers: new Offers({ services, queue, told }),
    call: (call) => requests.call(call),
    tasks: [
      {
        name: 'capacity-queue',
        everyMs: limits.capacityQueueEveryMs,
        turn: async () => {
          await queue.turn();
          deliveries?.hint();
          const waited = queue.waits ? await readWaitedFor(services.db, demandTypesMaxDefault) : [];
          tellPools(waited);
          services.capacity.waitedFor(waited);
        },
      },
      {
        name: 'capacity-companions',
        everyMs: limits.companionsEveryMs,
        turn: () => companions.turn(),
      },
      {
        name: 'capacity-requests',
        everyMs: limits.housekeepingEveryMs,
        turn: () => purgeRequests(services.db, new Date(services.clock.now() - limits.capacityKeptMs)),
      },
    ],
    close: () => {
      close?.();
      deliveries?.stop();
    },
  };
};

/** What is wrong with a callback as far as its URL alone tells. @throws TypeError for an allowed range that is none */
const callbackCheck = (webhooks: WebhooksOptions | undefined): ((url: string) => string | undefined) => {
  if (webhooks === undefined) return () => 'this region sends no webhooks: read the events instead';
  const allowed = parseRanges(webhooks.allowed);
  return (url) => callbackObjection(url, allowed);
};

/** Each request has a secret of its own, which is kept nowhere; in the form of Standard Webhooks. */
export const signingSecretOf = (secret: string, requestId: string): string =>
  `whsec_${createHmac('sha256', secret).update(requestId).digest('base64')}`;
