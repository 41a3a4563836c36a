/**
 * A TCP port of the loopback that nobody has just now, outside the range from which the kernel gives ports to outgoing connections and to
 * whoever asks for any: those of other tests would take it before it is used, or while its process is started anew.
 */
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { createServer } from 'node:net';

const first = 10_240;
const triesMax = 100;

/** Where the kernel's own range begins. */
const end = (): number =>
  Number(readFileSync('/proc/sys/net/ipv4/ip_local_port_range', 'utf8').split('\t')[0]);

const isFree = async (port: number): Promise<boolean> => {
  const server = createServer();
  try {
    await once(server.listen(port, '127.0.0.1'), 'listening');
  } catch {
    return false;
  }
  server.close();
  await once(server, 'close');
  return true;
};

export const freePort = async (): Promise<number> => {
  const count = end() - first;
  if (count < 1_000) throw new Error('the kernel’s range of ports leaves too few for tests');
  for (let tries = 0; tries < triesMax; tries++) {
    const port = first + Math.floor(Math.random() * count);
    if (await isFree(port)) return port;
  }
  throw new Error(`no port was free in ${triesMax} tries`);
};
