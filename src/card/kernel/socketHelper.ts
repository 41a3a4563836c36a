/** Runs for a moment inside a VPC's namespace: opens the sockets that live there and hands them to the card. */
import { createSocket } from 'node:dgram';
import { createServer } from 'node:net';

const [tcpPort, udpPort] = process.argv.slice(1).map(Number);
const server = createServer();
const datagrams = createSocket('udp4');
const fail = (error: Error): never => {
  process.stderr.write(`${error.message}\n`);
  process.exit(1);
};
server.on('error', fail);
datagrams.on('error', fail);

const send = (message: string, handle: typeof server | typeof datagrams, next: () => void): void => {
  process.send?.(message, handle, {}, (error) => (error === null ? next() : fail(error)));
};

server.listen(tcpPort, '0.0.0.0', () =>
  datagrams.bind(udpPort, '0.0.0.0', () =>
    send('tcp', server, () => send('udp', datagrams, () => process.once('message', () => process.exit(0)))),
  ),
);
