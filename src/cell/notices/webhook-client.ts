/** The cell's way to the webhook sender: HTTP over its Unix socket. */
import { request as httpRequest } from 'node:http';
import { webhookOutcome } from '#contracts/webhooks.ts';
import type { SendWebhook } from './deliveries.ts';

const answerCharsMax = 16 * 1024;
/** Beyond the time that the receiver has. */
const graceMs = 2_000;

export const webhookClient =
  ({ socket, key }: { readonly socket: string; readonly key: string }): SendWebhook =>
  (delivery) =>
    new Promise((resolve, reject) => {
      const request = httpRequest({
        ...{ socketPath: socket, method: 'POST', path: '/deliver', agent: false },
        headers: { authorization: `Bearer ${key}`, 'content-type': 'application/json' },
        signal: AbortSignal.timeout(delivery.timeoutMs + graceMs),
      });
      request.once('error', reject);
      request.once('response', (response) => {
        let text = '';
        response.setEncoding('utf8').on('data', (chunk: string) => {
          text += chunk;
          if (text.length > answerCharsMax) request.destroy(new Error('the answer is too long'));
        });
        response.once('error', reject);
        response.once('end', () => {
          try {
            resolve(webhookOutcome.parse(JSON.parse(text)));
          } catch (cause) {
            reject(new Error(`the webhook sender answers ${response.statusCode}`, { cause }));
          }
        });
      });
      request.end(JSON.stringify(delivery));
    });
