/** One person's server-sent events: from the last id that the client saw, woken by changes, looked through from time to time. */
import type { FastifyReply, FastifyRequest } from 'fastify';
import type { App } from '../app.ts';
import { PaymentsError } from '../base/errors.ts';
import { securityHeaders } from '../server/security.ts';
import { cursorNow, cursorText, eventsAfter, parseCursor } from './live.ts';

/** A line that keeps the connection, so that both ends notice a dead one; also how often a stream looks by itself. */
export const heartbeatMs = 15_000;
/** An older transaction may still run when a stream is woken: it looks again soon, this often. */
const lookAgainMs = [5, 25, 100, 400, 1_600] as const;
export const streamsMax = 5_000;
/** A client that reads more slowly than this is behind is let go; it comes back with its last id. */
const unreadBytesMax = 256 * 1024;

export async function streamEvents(
  app: App,
  personId: string,
  request: FastifyRequest,
  reply: FastifyReply,
): Promise<FastifyReply> {
  if (app.live.streams >= streamsMax)
    throw new PaymentsError('busy', 'Too many live connections. Try again later.', { retryAfterS: 10 });
  const header = request.headers['last-event-id'];
  let cursor = parseCursor(typeof header === 'string' ? header : undefined) ?? (await cursorNow(app.pool));
  reply.hijack();
  const out = reply.raw;
  out.writeHead(200, {
    ...securityHeaders,
    'content-type': 'text/event-stream',
    'cache-control': 'no-store',
    'x-accel-buffering': 'no',
  });
  out.write(`retry: 2000\nid: ${cursorText(cursor)}\n\n`);

  const state = { isBusy: false, isWoken: false, timers: new Set<NodeJS.Timeout>() };
  const deliver = async (): Promise<void> => {
    state.isWoken = true;
    if (state.isBusy) return;
    state.isBusy = true;
    try {
      while (state.isWoken && !out.destroyed) {
        state.isWoken = false;
        for (const event of await eventsAfter(app.pool, personId, cursor)) {
          out.write(
            `id: ${cursorText(event.cursor)}\nevent: ${event.data.type}\ndata: ${JSON.stringify(event.data)}\n\n`,
          );
          cursor = event.cursor;
          state.isWoken = true;
        }
        if (out.writableLength > unreadBytesMax) out.destroy();
      }
    } catch (error) {
      app.log.warn({ error: String(error) }, 'a stream could not look for events');
    } finally {
      state.isBusy = false;
    }
  };
  const after = (ms: number): void => {
    const timer = setTimeout(() => {
      state.timers.delete(timer);
      void deliver();
    }, ms);
    state.timers.add(timer);
  };
  const stop = app.live.listen(personId, () => {
    void deliver();
    for (const ms of lookAgainMs) after(ms);
  });
  const heartbeat = setInterval(() => {
    out.write(': still here\n\n');
    void deliver();
  }, heartbeatMs);
  out.on('close', () => {
    stop();
    clearInterval(heartbeat);
    for (const timer of state.timers) clearTimeout(timer);
  });
  void deliver();
  return reply;
}
