/** The webhook sender at its Unix socket. It keeps nothing: what is to be sent, and how often it was tried, are rows of the cells. */
import { timingSafeEqual } from 'node:crypto';
import { chmodSync, rmSync } from 'node:fs';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { Logger } from '#base/log.ts';
import { parseRanges } from '#base/publicAddress.ts';
import { type WebhookOutcome, webhookDelivery, webhookLimits } from '#contracts/webhooks.ts';
import type { WebhooksConfig } from './config.ts';
import { Fence } from './fence.ts';
import { type SendRules, sendWebhook } from './send.ts';

const bodyBytesMax = 4 * webhookLimits.bodyCharsMax;
const requestTimeoutMs = 5_000;
const connectionsMax = 256;
const sendingMax = 128;

const bodyOf = async (request: IncomingMessage): Promise<unknown> => {
  let text = '';
  for await (const part of request.setEncoding('utf8')) {
    text += part;
    if (text.length > bodyBytesMax) throw new Error('the request is too long');
  }
  return JSON.parse(text);
};

const answer = (response: ServerResponse, status: number, body: object): void => {
  response.writeHead(status, { 'content-type': 'application/json' });
  response.end(JSON.stringify(body));
};

const same = (given: string | undefined, key: string): boolean => {
  const [a, b] = [Buffer.from(given ?? ''), Buffer.from(`Bearer ${key}`)];
  return a.length === b.length && timingSafeEqual(a, b);
};

/** Listens; resolves when it does. @throws TypeError for a range that is none */
export const serveWebhooks = async (
  config: WebhooksConfig,
  log: Logger,
  lookup?: SendRules['lookup'],
): Promise<Server> => {
  const rules: SendRules = {
    allowed: parseRanges(config.allowed),
    ...(lookup === undefined ? {} : { lookup }),
  };
  let sending = 0;
  const fence = config.fencedFrom && new Fence(config.fencedFrom, log);

  const deliver = async (request: IncomingMessage): Promise<WebhookOutcome> => {
    const delivery = webhookDelivery.parse(await bodyOf(request));
    if (sending >= sendingMax)
      return { outcome: 'failed', reason: 'the sender is busy', retryAfterSeconds: 1 };
    sending += 1;
    try {
      if (fence !== undefined && !(await fence.closed()))
        return { outcome: 'failed', reason: 'the sender is not fenced off: its operator must see to that' };
      const outcome = await sendWebhook(delivery, rules);
      const { 'webhook-id': id } = delivery.headers;
      // The receiver's host alone: paths of callbacks may be secret.
      const to = URL.canParse(delivery.url) ? new URL(delivery.url).host : '';
      log.info({ webhook: id, to, ...outcome }, 'webhook');
      return outcome;
    } finally {
      sending -= 1;
    }
  };

  const server = createServer({ requestTimeout: requestTimeoutMs }, (request, response) => {
    if (!same(request.headers.authorization, config.key))
      return answer(response, 403, { error: 'not known' });
    if (request.method !== 'POST' || request.url !== '/deliver')
      return answer(response, 404, { error: 'there is POST /deliver' });
    deliver(request).then(
      (outcome) => answer(response, 200, outcome),
      (error: unknown) => {
        log.warn({ err: error }, 'a delivery was not understood');
        answer(response, 400, { error: 'it is no delivery' });
      },
    );
  });
  server.maxConnections = connectionsMax;
  rmSync(config.socket, { force: true });
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.listen(config.socket, resolve);
  });
  chmodSync(config.socket, 0o666);
  return server;
};
