import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';

/** A small metadata service (IMDSv2) on loopback. `values` may change between two boots. */
export interface Metadata extends AsyncDisposable {
  port: number;
  values: Map<string, string>;
}

const token = 'a-token-of-this-test';

/** Starts one; a request without the token that it gave out gets 401. */
export async function startMetadata(values: Record<string, string>): Promise<Metadata> {
  const entries = new Map(Object.entries(values));
  const server = createServer((request, response) => {
    const send = (status: number, body: string): void => void response.writeHead(status).end(body);
    if (request.method === 'PUT' && request.url === '/latest/api/token') {
      const seconds = request.headers['x-aws-ec2-metadata-token-ttl-seconds'];
      return seconds === undefined ? send(400, '') : send(200, token);
    }
    if (request.headers['x-aws-ec2-metadata-token'] !== token) return send(401, '');
    const path = (request.url ?? '').replace(/^\/[^/]+\//, '');
    const value = entries.get(path) ?? listing([...entries.keys()], path);
    return value === undefined ? send(404, 'not found') : send(200, value);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const address = server.address() as AddressInfo; // a TCP server that listens has no other kind
  return {
    port: address.port,
    values: entries,
    [Symbol.asyncDispose]: async () => {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

/** What a directory answers: its children, one a line, folders with a slash. Undefined when there is no such directory. */
function listing(paths: readonly string[], path: string): string | undefined {
  const folder = path === '' || path.endsWith('/') ? path : `${path}/`;
  if (folder === 'meta-data/public-keys/') return '0=test';
  const below = paths.filter((one) => one.startsWith(folder)).map((one) => one.slice(folder.length));
  const children = below.map((one) => (one.includes('/') ? one.slice(0, one.indexOf('/') + 1) : one));
  return children.length === 0 ? undefined : [...new Set(children)].join('\n');
}
