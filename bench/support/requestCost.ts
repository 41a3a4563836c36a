/**
 * Loaded into a router (`--import`): how long its event loop worked while a request was in it, on whatever, in milliseconds by the
 * request's `user-agent`, written as JSON to the file `PANDO_REQUEST_COST` at its end. What region and cell took is not in it. Not by the
 * kernel's account of processor time: that is brought up to date at each tick (4 ms) and at each switch alone, and lent one request what
 * those before it had used.
 */
import { channel } from 'node:diagnostics_channel';
import { writeFileSync } from 'node:fs';
import type { IncomingMessage } from 'node:http';
import { performance } from 'node:perf_hooks';

const begun = new WeakMap<IncomingMessage, number>();
const spent: Record<string, number[]> = {};

const workedMs = (): number => performance.eventLoopUtilization().active;
const requestOf = (message: unknown): IncomingMessage => (message as { request: IncomingMessage }).request;

channel('http.server.request.start').subscribe((message) => begun.set(requestOf(message), workedMs()));
channel('http.server.response.finish').subscribe((message) => {
  const request = requestOf(message);
  const at = begun.get(request);
  if (at === undefined) return;
  const name = request.headers['user-agent'] ?? '';
  spent[name] ??= [];
  spent[name].push(workedMs() - at);
});
process.once('exit', () =>
  writeFileSync(process.env.PANDO_REQUEST_COST ?? '/dev/null', JSON.stringify(spent)),
);
