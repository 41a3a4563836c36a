/** A client's own server for webhooks: it keeps what comes, and when, until somebody verifies it with the request's secret. */
import { createServer, type IncomingHttpHeaders, type Server } from 'node:http';
import { Webhook } from 'standardwebhooks';
import { type EventView, eventView } from '#contracts/capacity.ts';

export interface Received {
  readonly headers: IncomingHttpHeaders;
  readonly body: string;
  /** By the wall clock, which the store's times are of as well. */
  readonly at: number;
}

export interface Verified {
  readonly event: EventView;
  readonly at: number;
}

export class Receiver implements AsyncDisposable {
  readonly received: Received[] = [];
  readonly #server: Server;

  private constructor() {
    this.#server = createServer((request, response) => {
      let body = '';
      request.setEncoding('utf8').on('data', (text: string) => {
        body += text;
      });
      request.once('end', () => {
        this.received.push({ headers: request.headers, body, at: Date.now() });
        response.writeHead(204).end();
      });
    });
  }

  /** On an address of this machine, at a port of its own. */
  static async listen(host: string): Promise<Receiver> {
    const receiver = new Receiver();
    await new Promise<void>((resolve, reject) => {
      receiver.#server.once('error', reject).listen(0, host, resolve);
    });
    return receiver;
  }

  get url(): string {
    const address = this.#server.address();
    if (address === null || typeof address === 'string') throw new Error('the receiver does not listen');
    return `http://${address.address}:${address.port}/hook`;
  }

  /** All that came so far, as Standard Webhooks' own library reads it. @throws WebhookVerificationError for what is not signed so */
  verified(secret: string): Verified[] {
    return this.received.map((each) => ({ event: verify(secret, each), at: each.at }));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#server.closeAllConnections();
    await new Promise<void>((resolve) => this.#server.close(() => resolve()));
  }
}

export function verify(secret: string, { headers, body }: Pick<Received, 'headers' | 'body'>): EventView {
  const signed = Object.fromEntries(Object.entries(headers).map(([name, value]) => [name, String(value)]));
  const { type, data } = new Webhook(secret).verify(body, signed) as { type: string; data: unknown };
  const event = eventView.parse(data);
  if (event.kind !== type || event.eventId !== signed['webhook-id'])
    throw new Error(
      `the webhook ${signed['webhook-id']} says ${type} and carries ${event.kind} ${event.eventId}`,
    );
  return event;
}
