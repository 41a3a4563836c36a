/**
 * A process of simulated hosts of one cell: `node bench/support/simulatedHosts.ts FILE`. Each dials every processor of the cell, as an agent
 * does, over mutual TLS. Says `ready` to its parent when all were greeted.
 */
import { readFileSync } from 'node:fs';
import { z } from 'zod';
import { tlsFiles } from '#base/config.ts';
import { RpcClient } from '#base/rpc/client.ts';
import { loadTls } from '#base/tlsFromFiles.ts';
import { reportEveryMs } from '#cell/limits.ts';
import { hostAccess } from '#contracts/access.ts';
import { hostContract, hostEventsContract } from '#contracts/host.ts';
import { SimHost } from '#simhost/sim-host.ts';
import { SimWorld } from '#simhost/world.ts';

export const simulatedHostsConfig = z.object({
  zone: z.string(),
  processorPorts: z.array(z.number().int()),
  hosts: z.array(z.object({ hostId: z.string(), vtep: z.string(), tls: tlsFiles })),
});
export type SimulatedHostsConfig = z.infer<typeof simulatedHostsConfig>;

const capacity = { vcpus: 64, memoryMib: 65_536, diskMib: 1_048_576 };
const helloTimeoutMs = 60_000;

const config = simulatedHostsConfig.parse(JSON.parse(readFileSync(process.argv[2] ?? '', 'utf8')));
const world = new SimWorld();
const links = config.hosts.map(({ hostId, vtep, tls }) => {
  const host = new SimHost({ hostId, vtep, zone: config.zone, world, capacity });
  const clients = config.processorPorts.map(
    (port) =>
      new RpcClient({
        ...{ tls: loadTls(tls), host: '127.0.0.1', port, expect: 'spiffe://pando/cell/' },
        remote: hostEventsContract,
        contract: hostContract,
        access: hostAccess,
        handlers: host.handlers,
        onConnect: async (stream) => {
          host.joined(await stream.call('host.hello', host.hello()));
        },
      }),
  );
  setInterval(() => {
    const report = host.report();
    for (const client of clients)
      if (client.connected) client.call('host.report', report).catch(() => undefined);
  }, reportEveryMs);
  return clients;
});
process.on('disconnect', () => process.exit());
await Promise.all(links.flat().map((client) => client.ready(helloTimeoutMs)));
process.on('message', () => process.send?.({ violations: world.violations }));
process.send?.('ready');
