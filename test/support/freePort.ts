/**
 * A TCP port of the loopback that nobody has just now, outside the range from which the kernel gives ports to outgoing connections and to
 * whoever asks for any: those of other tests would take it before it is used, or while its process is started anew. For the same reason
 * each process takes them from a slice of its own, one after the other.
 */
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { createServer } from 'node:net';

/** Below lie the ports of regions on this machine, those of tests too. */
const first = 15_000;
/** Processes of tests that run at one time have numbers near each other: they fall into different slices. */
const portsPerSlice = 128;
let given = 0;

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
  const slices = Math.floor((end() - first) / portsPerSlice);
  if (slices < 8) throw new Error('the kernel’s range of ports leaves too few for tests');
  const own = first + (process.pid % slices) * portsPerSlice;
  for (let tries = 0; tries < portsPerSlice; tries++) {
    const port = own + (given++ % portsPerSlice);
    if (await isFree(port)) return port;
  }
  throw new Error(`none of the ${portsPerSlice} ports of this process is free`);
};
