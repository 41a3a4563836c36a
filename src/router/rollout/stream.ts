/** A rollout as server-sent events: one each time that something in it is new, until it has ended or the request's signature has. */
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { EndpointOptions } from '../http/server.ts';
import type { RolloutHttpAnswer, RolloutHttpRequest } from '../regionLink.ts';
import { ask } from './ask.ts';

/** A signature is good for a quarter of an hour; who stays longer signs again. */
const streamMsMax = 10 * 60_000;
const streamsMax = 16;
let open = 0;

const textIn = (body: unknown, name: string): string | undefined => {
  const value: unknown = Reflect.get(Object(body), name);
  return typeof value === 'string' ? value : undefined;
};

export const streamRollout = async (
  options: EndpointOptions,
  request: IncomingMessage,
  response: ServerResponse,
  asked: RolloutHttpRequest,
  first: RolloutHttpAnswer,
): Promise<void> => {
  if (open >= streamsMax) {
    response.writeHead(503, { 'content-length': 0, server: 'Pando' });
    response.end();
    return;
  }
  open += 1;
  const gone = new AbortController();
  response.once('close', () => gone.abort());
  const end = setTimeout(() => gone.abort(), streamMsMax);
  response.writeHead(200, {
    'content-type': 'text/event-stream',
    'cache-control': 'no-store',
    'x-amzn-requestid': asked.requestId,
    server: 'Pando',
  });
  try {
    let sent: string | undefined;
    for (let answer = first; !gone.signal.aborted && answer.status === 200; ) {
      const revision = textIn(answer.body, 'revision');
      if (revision === sent) response.write(': keep-alive\n\n');
      else response.write(`id: ${revision}\nevent: rollout\ndata: ${JSON.stringify(answer.body)}\n\n`);
      sent = revision;
      if (revision === undefined || textIn(answer.body, 'endedAt') !== undefined) return;
      answer = await ask(options, request, { ...asked, watched: revision });
    }
  } finally {
    clearTimeout(end);
    open -= 1;
    response.end();
  }
};
