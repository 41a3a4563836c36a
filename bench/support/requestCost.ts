/**
 * Loaded into a router (`--import`): processor time of its event loop while a request is in it, whatever it was spent on, in milliseconds by
 * the request's `user-agent`, written as JSON to the file `PANDO_REQUEST_COST` at its end. On a busy machine, wall time tells of the
 * others; this tells what the router itself made a request wait for.
 */
import { channel } from 'node:diagnostics_channel';
import { writeFileSync } from 'node:fs';
import type { IncomingMessage } from 'node:http';

const begun = new WeakMap<IncomingMessage, number>();
const spent: Record<string, number[]> = {};

const cpuMs = (): number => {
  const { user, system } = process.threadCpuUsage();
  return (user + system) / 1_000;
};
const requestOf = (message: unknown): IncomingMessage => (message as { request: IncomingMessage }).request;

channel('http.server.request.start').subscribe((message) => begun.set(requestOf(message), cpuMs()));
channel('http.server.response.finish').subscribe((message) => {
  const request = requestOf(message);
  const at = begun.get(request);
  if (at === undefined) return;
  const name = request.headers['user-agent'] ?? '';
  spent[name] ??= [];
  spent[name].push(cpuMs() - at);
});
process.once('exit', () =>
  writeFileSync(process.env.PANDO_REQUEST_COST ?? '/dev/null', JSON.stringify(spent)),
);
