/** A collector of a test's own: takes spans by OTLP over HTTP, in JSON, and keeps them. */
import { once } from 'node:events';
import { createServer } from 'node:http';
import { text } from 'node:stream/consumers';
import { z } from 'zod';

const attributes = z.array(
  z.object({ key: z.string(), value: z.object({ stringValue: z.string() }).partial() }),
);
const body = z.object({
  resourceSpans: z.array(
    z.object({
      resource: z.object({ attributes }),
      scopeSpans: z.array(
        z.object({
          spans: z.array(
            z.object({
              ...{ traceId: z.string(), spanId: z.string(), parentSpanId: z.string().optional() },
              ...{ name: z.string(), kind: z.number(), attributes },
              ...{ startTimeUnixNano: z.string(), endTimeUnixNano: z.string() },
              status: z.object({ code: z.number().optional(), message: z.string().optional() }),
            }),
          ),
        }),
      ),
    }),
  ),
});

const plain = (of: z.infer<typeof attributes>): Record<string, string> =>
  Object.fromEntries(of.map(({ key, value }) => [key, value.stringValue ?? '']));

export interface CollectedSpan {
  readonly service: string;
  readonly traceId: string;
  readonly spanId: string;
  readonly parentSpanId?: string | undefined;
  readonly name: string;
  readonly attributes: Readonly<Record<string, string>>;
  readonly ms: number;
  /** Of an error. */
  readonly code: string | undefined;
}

export interface SpanCollector {
  readonly endpoint: string;
  readonly spans: readonly CollectedSpan[];
  close(): Promise<void>;
}

const spansIn = (json: string): CollectedSpan[] =>
  body.parse(JSON.parse(json)).resourceSpans.flatMap(({ resource, scopeSpans }) =>
    scopeSpans.flatMap((scope) =>
      scope.spans.map(({ startTimeUnixNano, endTimeUnixNano, attributes: own, status, ...span }) => ({
        ...span,
        service: plain(resource.attributes)['service.name'] ?? '',
        attributes: plain(own),
        ms: Number(BigInt(endTimeUnixNano) - BigInt(startTimeUnixNano)) / 1e6,
        code: status.message,
      })),
    ),
  );

export const startSpanCollector = async (): Promise<SpanCollector> => {
  const spans: CollectedSpan[] = [];
  const server = createServer(async (request, response) => {
    const sent = await text(request);
    if (request.url === '/v1/traces') spans.push(...spansIn(sent));
    response.writeHead(200, { 'content-type': 'application/json' }).end('{}');
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const address = server.address();
  if (address === null || typeof address === 'string') throw new TypeError('no port');
  return {
    endpoint: `http://127.0.0.1:${address.port}`,
    spans,
    close: async () => {
      server.close();
      server.closeAllConnections();
      await once(server, 'close');
    },
  };
};
