/**
 * The process that answers the guests of one VPC: metadata and DHCP. What guests send meets no other parser of ours in user space. It
 * is started inside the VPC's namespace, opens its two sockets, and becomes a user of its own without capabilities before it reads the
 * first packet: `main.ts UID`. It knows the guests of its VPC on this card alone, and ends with the card.
 */
import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { flushCompileCache } from 'node:module';
import { createServer } from 'node:net';
import { setPriority } from 'node:os';
import { createInterface } from 'node:readline';
import { setTimeout as sleep } from 'node:timers/promises';
import { giveBackLoadingMemory } from '#base/loadingMemory.ts';
import { monotonicMs } from '#base/monotonic.ts';
import { answerDhcp } from '../dhcp/answer.ts';
import { parseDhcp } from '../dhcp/packet.ts';
import { dhcpBytesMax, heardEveryMs, metadataPort } from '../limits.ts';
import { serveMetadata } from '../metadata/server.ts';
import { TokenSigner } from '../metadata/token.ts';
import type { GuestAsked, GuestFacts, Update } from './message.ts';
import { dropPrivileges } from './privileges.ts';

const dhcpServerPort = 67;
const dhcpClientPort = 68;
/** A former process may still be about to end. */
const openTriesMax = 50;
const openEveryMs = 100;
/** Behind the card, the VMMs and everything else of the machine. */
const niceness = 10;

let facts: GuestFacts | undefined;
let signer: TokenSigner | undefined;

const say = (message: object): void => void process.stdout.write(`${JSON.stringify(message)}\n`);

/** When the card was told of each guest last; of those that it has. */
const told = new Map<string, number>();

const heard = (what: GuestAsked, eniId: string): void => {
  const key = `${what} ${eniId}`;
  const now = monotonicMs();
  if (now - (told.get(key) ?? Number.NEGATIVE_INFINITY) < heardEveryMs) return;
  told.set(key, now);
  say({ [what]: eniId });
};

const opened = async <T>(open: () => Promise<T>): Promise<T> => {
  for (let tries = 1; ; tries++)
    try {
      return await open();
    } catch (error) {
      if (tries >= openTriesMax) throw error;
      await sleep(openEveryMs);
    }
};

const openDhcp = async () => {
  // Only addresses are given to it: with a `lookup` of ours the resolver is never loaded.
  const socket = createSocket({
    type: 'udp4',
    lookup: (address, _, done) => process.nextTick(done, null, address, 4),
  });
  socket.bind(dhcpServerPort, '0.0.0.0');
  await once(socket, 'listening');
  return socket;
};

const openMetadata = () =>
  new Promise<ReturnType<typeof createServer>>((resolve, reject) => {
    const server = createServer();
    server.once('error', reject);
    // In this same turn, before anybody is accepted: see below.
    server.listen(metadataPort, '0.0.0.0', () => {
      becomeHarmless();
      serveMetadata(
        server,
        () => signer,
        (ip) => {
          const guest = guestAt(({ port }) => port.ip === ip);
          if (guest !== undefined) heard('metadata', guest.port.eniId);
          return guest;
        },
      );
      resolve(server);
    });
  });

const becomeHarmless = (): void => {
  setPriority(niceness);
  // Written while it still can be; the next one starts three times as fast.
  flushCompileCache();
  dropPrivileges(Number(process.argv[2]));
};

const guestAt = (is: (guest: GuestFacts['guests'][number]) => boolean) => {
  const guest = facts?.guests.find(is);
  return facts === undefined || guest?.metadata === undefined
    ? undefined
    : { vpc: facts.vpc, port: guest.port, metadata: guest.metadata };
};

giveBackLoadingMemory();
const dhcp = await opened(openDhcp);
await opened(openMetadata);
dhcp.on('error', () => undefined);
dhcp.on('message', (bytes) => {
  if (bytes.length > dhcpBytesMax) return;
  const request = parseDhcp(bytes);
  const guest = facts?.guests.find(({ port }) => port.mac.toLowerCase() === request?.mac);
  if (facts === undefined || request === undefined || guest === undefined) return;
  heard('dhcp', guest.port.eniId);
  const answer = answerDhcp(request, { vpc: facts.vpc, ...guest });
  if (answer !== undefined) dhcp.send(answer.bytes, dhcpClientPort, answer.to, () => undefined);
});

say({ ready: true });
for await (const line of createInterface({ input: process.stdin })) {
  const update: Update = JSON.parse(line);
  signer = new TokenSigner(Buffer.from(update.tokenKey, 'hex'));
  facts = update.facts;
  told.clear();
  say({ ack: update.seq });
}
process.exit(0);
