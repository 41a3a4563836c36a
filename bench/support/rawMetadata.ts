/** A small metadata service for a VM without Pando: `node rawMetadata.ts ADDRESS INSTANCE-ID`. Says "listening" when it does. */
import { createServer } from 'node:http';

const [address = '', instanceId = ''] = process.argv.slice(2);
const token = 'token';
const values = new Map([
  ['meta-data/instance-id', instanceId],
  ['meta-data/local-hostname', 'raw'],
]);

createServer((request, response) => {
  if (request.method === 'PUT') {
    response.end(token);
    return;
  }
  const value = values.get((request.url ?? '').replace(/^\/[^/]+\//, ''));
  if (value === undefined) response.writeHead(404);
  response.end(value ?? '');
}).listen(80, address, () => console.log('listening'));
