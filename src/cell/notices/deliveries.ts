/**
 * Brings events to clients' callbacks by way of the webhook sender: at least once, under the event's id each time, at growing intervals
 * of the cell's own time, until one is received or given up. A row is the record of each; nothing is remembered beside it.
 */
import { Webhook } from 'standardwebhooks';
import { Coalesced } from '#base/coalesced.ts';
import type { WebhookDelivery, WebhookOutcome } from '#contracts/webhooks.ts';
import * as limits from '../limits.ts';
import type { CellServices } from '../services.ts';
import { type DueDelivery, elapsedMs, endDelivery, putOff, takeDue } from '../store/capacity-deliveries.ts';
import { showEvent } from '../store/capacity-requests.ts';

/** Asks the sender. Rejects where it is away: then nothing was tried for all that anybody knows. */
export type SendWebhook = (delivery: WebhookDelivery) => Promise<WebhookOutcome>;

export interface DeliveriesOptions {
  readonly services: CellServices;
  readonly send: SendWebhook;
  readonly signingSecretOf: (requestId: string) => string;
}

/** How long until the next try after so many. Pure, but for `jitter` (0 ≤ jitter < 1). */
export const backoffMs = (attempts: number, jitter: number): number =>
  Math.min(limits.webhookBackoffMsMax, limits.webhookBackoffMsMin * 2 ** (attempts - 1)) *
  (0.75 + jitter / 2);

export class Deliveries {
  readonly #options: DeliveriesOptions;
  /** Event → receiver, of those that are on their way. */
  readonly #sending = new Map<string, string>();
  readonly #running = new Coalesced(() => this.#lookOnce());
  #stopped = false;

  constructor(options: DeliveriesOptions) {
    this.#options = options;
  }

  /** Something may be due. */
  hint(): void {
    void this.turn().catch((error: unknown) =>
      this.#options.services.log.warn(
        { err: error },
        'webhooks were not looked at: they are within a second',
      ),
    );
  }

  turn(): Promise<void> {
    return this.#running.run();
  }

  stop(): void {
    this.#stopped = true;
  }

  async #lookOnce(): Promise<void> {
    const room = limits.webhooksAtOnceMax - this.#sending.size;
    if (this.#stopped || room <= 0) return;
    const { db } = this.#options.services;
    const nowMs = await elapsedMs(db);
    const due = await db.transaction((tx) =>
      takeDue(tx, {
        ...{ nowMs, leaseMs: limits.webhookLeaseMs, limit: room, busy: this.#busy() },
        ...{ perUrl: limits.webhooksPerReceiverMax, sending: [...this.#sending.values()] },
      }),
    );
    // They end in their own time, and make room then: a slow receiver takes a few places and no more.
    for (const delivery of due) this.#begin(delivery);
    if (due.length > 0) void this.#running.run();
  }

  #begin(due: DueDelivery): void {
    this.#sending.set(due.id, due.url);
    this.#deliver(due)
      .catch((error: unknown) =>
        this.#options.services.log.warn({ err: error, event: due.id }, 'a webhook is tried again later'),
      )
      .finally(() => {
        this.#sending.delete(due.id);
        if (!this.#stopped) this.hint();
      });
  }

  /** Receivers that have as many places as they may. */
  #busy(): string[] {
    const urls = [...this.#sending.values()];
    return [...new Set(urls)].filter(
      (url) => urls.filter((each) => each === url).length >= limits.webhooksPerReceiverMax,
    );
  }

  async #deliver(due: DueDelivery): Promise<void> {
    const { services, send } = this.#options;
    await services.faults.hit('webhook.before');
    const outcome = await send(this.#message(due)).catch(
      (error: unknown): WebhookOutcome => ({
        outcome: 'failed',
        reason: `the webhook sender is away: ${error instanceof Error ? error.message : ''}`.slice(0, 256),
      }),
    );
    await services.faults.hit('webhook.after');
    await this.#record(due, outcome);
  }

  #message(due: DueDelivery): WebhookDelivery {
    const event = showEvent(due);
    const body = JSON.stringify({ type: event.kind, timestamp: event.at, data: event });
    const at = new Date(this.#options.services.clock.now());
    const signature = new Webhook(this.#options.signingSecretOf(due.request_id)).sign(due.id, at, body);
    return {
      url: due.url,
      headers: {
        'content-type': 'application/json',
        'webhook-id': due.id,
        'webhook-timestamp': String(Math.floor(at.getTime() / 1000)),
        'webhook-signature': signature,
      },
      body,
      timeoutMs: limits.webhookTimeoutMs,
    };
  }

  async #record(due: DueDelivery, outcome: WebhookOutcome): Promise<void> {
    const { db, log } = this.#options.services;
    if (outcome.outcome === 'delivered') return endDelivery(db, due.id, { state: 'delivered' });
    const { reason: error } = outcome;
    if (outcome.outcome === 'refused' || due.attempts >= limits.webhookAttemptsMax) {
      log.warn({ event: due.id, account: due.account_id, reason: error }, 'a webhook was given up');
      return endDelivery(db, due.id, { state: 'dead', error });
    }
    const waitMs = Math.max(backoffMs(due.attempts, Math.random()), 1000 * (outcome.retryAfterSeconds ?? 0));
    await putOff(db, due.id, { dueMs: (await elapsedMs(db)) + Math.round(waitMs), error });
  }
}
