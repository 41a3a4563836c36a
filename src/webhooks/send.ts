/** Sends one message to one receiver: its name is looked up once, what it must not reach is refused, and everything has a limit. */
import { lookup as dnsLookup } from 'node:dns/promises';
import { request as httpRequest, type IncomingMessage } from 'node:http';
import { request as httpsRequest } from 'node:https';
import { callbackObjection, hostOf, type parseRanges, refusalOf } from '#base/publicAddress.ts';
import type { WebhookDelivery, WebhookOutcome } from '#contracts/webhooks.ts';

export interface SendRules {
  /** Ranges that the operator allows beside public addresses. */
  readonly allowed: ReturnType<typeof parseRanges>;
  /** Looks a name up: all of its addresses. */
  readonly lookup?: (host: string) => Promise<readonly string[]>;
}

const answerBytesMax = 64 * 1024;
const addressesMax = 16;
const retryAfterSecondsMax = 3_600;

class Refused extends Error {}

const systemLookup = async (host: string): Promise<readonly string[]> =>
  (await dnsLookup(host, { all: true })).map(({ address }) => address);

/** One address, looked up once: what is connected to is what was checked. @throws Refused where any of them is not to be reached */
const addressOf = async (url: URL, { allowed, lookup = systemLookup }: SendRules): Promise<string> => {
  const addresses = (await lookup(hostOf(url))).slice(0, addressesMax);
  const refusal = addresses.map((address) => refusalOf(address, allowed)).find((why) => why !== undefined);
  if (refusal !== undefined) throw new Refused(refusal);
  const [first] = addresses;
  if (first === undefined) throw new Error(`${hostOf(url)} has no address`);
  return first;
};

const retryAfter = (response: IncomingMessage): { retryAfterSeconds: number } | object => {
  const text = response.headers['retry-after'];
  return text !== undefined && /^\d{1,6}$/.test(text)
    ? { retryAfterSeconds: Math.min(retryAfterSecondsMax, Number(text)) }
    : {};
};

const judge = (response: IncomingMessage): WebhookOutcome => {
  const status = response.statusCode ?? 0;
  if (status >= 200 && status < 300) return { outcome: 'delivered', status };
  if (status === 410) return { outcome: 'refused', reason: 'the receiver answers that it has gone (410)' };
  if (status >= 300 && status < 400)
    return { outcome: 'failed', reason: `it answers with a redirect (${status}), which is not followed` };
  return { outcome: 'failed', reason: `it answers ${status}`, ...retryAfter(response) };
};

const post = (
  url: URL,
  address: string,
  { headers, body }: WebhookDelivery,
  signal: AbortSignal,
): Promise<WebhookOutcome> =>
  new Promise((resolve, reject) => {
    const secure = url.protocol === 'https:';
    const request = (secure ? httpsRequest : httpRequest)({
      method: 'POST',
      // The address itself: there is no second lookup that could give another one.
      host: address,
      ...(secure ? { servername: hostOf(url) } : {}),
      port: url.port === '' ? (secure ? 443 : 80) : url.port,
      path: `${url.pathname}${url.search}`,
      headers: {
        ...headers,
        host: url.host,
        'content-length': Buffer.byteLength(body),
        'user-agent': 'Pando-Webhooks/1',
        connection: 'close',
      },
      agent: false,
      signal,
    });
    request.once('error', reject);
    request.once('response', (response) => {
      let bytes = 0;
      response.once('error', reject);
      // The answer says nothing but its status; a long one is not waited for.
      response.on('data', (chunk: Buffer) => {
        bytes += chunk.length;
        if (bytes > answerBytesMax) {
          resolve(judge(response));
          request.destroy();
        }
      });
      response.once('end', () => resolve(judge(response)));
    });
    request.end(body);
  });

/** Never throws: what goes wrong is an outcome. */
export const sendWebhook = async (delivery: WebhookDelivery, rules: SendRules): Promise<WebhookOutcome> => {
  const objection = callbackObjection(delivery.url, rules.allowed);
  if (objection !== undefined) return { outcome: 'refused', reason: objection };
  const url = new URL(delivery.url);
  const late = new AbortController();
  const overdue = Promise.withResolvers<never>();
  const timer = setTimeout(() => {
    const error = new Error(`no answer in ${delivery.timeoutMs} ms`);
    overdue.reject(error);
    late.abort(error);
  }, delivery.timeoutMs);
  try {
    const sent = addressOf(url, rules).then((address) => post(url, address, delivery, late.signal));
    sent.catch(() => undefined);
    return await Promise.race([sent, overdue.promise]);
  } catch (error) {
    const reason = (error instanceof Error ? error.message : 'it failed').slice(0, 256);
    return error instanceof Refused ? { outcome: 'refused', reason } : { outcome: 'failed', reason };
  } finally {
    clearTimeout(timer);
  }
};
