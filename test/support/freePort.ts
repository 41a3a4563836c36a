/** A TCP port of the loopback that nobody has just now. Somebody may take it before it is used: whoever binds it finds out. */
import { once } from 'node:events';
import { createServer } from 'node:net';

export const freePort = async (): Promise<number> => {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const address = server.address();
  server.close();
  await once(server, 'close');
  if (address === null || typeof address !== 'object') throw new TypeError('no port');
  return address.port;
};
