/**
 * A process that passes bytes on and does nothing else: what any process costs that stands between two others on this machine.
 *
 *   node bench/support/relay.ts TARGET-PORT
 *
 * Sends the port that it listens on to its parent.
 */
import { type AddressInfo, connect, createServer } from 'node:net';

const target = Number(process.argv[2]);
const server = createServer({ noDelay: true }, (incoming) => {
  const outgoing = connect({ host: '127.0.0.1', port: target, noDelay: true });
  incoming.pipe(outgoing).pipe(incoming);
  incoming.once('error', () => outgoing.destroy());
  outgoing.once('error', () => incoming.destroy());
});
server.listen(0, '127.0.0.1', () => process.send?.((server.address() as AddressInfo).port));
// Its parent has gone.
process.once('disconnect', () => process.exit());
