/**
 * A card's own guest: answers what other cards' guests send, and measures what it is asked to. `guest.ts UID IP`: on standard input one
 * request a line, on standard output one answer a line. Ends with its standard input.
 */
import { createSocket } from 'node:dgram';
import { createServer } from 'node:net';
import { createInterface } from 'node:readline';
import { dropPrivileges } from '../guestServices/privileges.ts';
import { type GuestRequest, measure, probeUdpTcpPort } from './measure.ts';

const [uid, ip = ''] = process.argv.slice(2);
dropPrivileges(Number(uid));

/** Bounded, since whoever is in the same overlay could connect. */
const connectionsMax = 64;
const connectionMsMax = 10_000;

const echo = createServer((socket) => {
  socket.setTimeout(connectionMsMax, () => socket.destroy());
  socket.on('error', () => socket.destroy());
  socket.pipe(socket);
});
echo.maxConnections = connectionsMax;
echo.listen(probeUdpTcpPort, ip, () => {
  const datagrams = createSocket('udp4');
  datagrams.on('message', (message, from) => datagrams.send(message, from.port, from.address));
  datagrams.on('error', () => undefined);
  datagrams.bind(probeUdpTcpPort, ip, () => process.stdout.write('{"ready":true}\n'));
});

createInterface({ input: process.stdin })
  .on('line', (line) => {
    const { id, ...request }: GuestRequest & { id: number } = JSON.parse(line);
    void measure(request).then((measured) => process.stdout.write(`${JSON.stringify({ id, measured })}\n`));
  })
  .on('close', () => process.exit(0));
