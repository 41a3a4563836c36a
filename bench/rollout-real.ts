/**
 * An urgent change on real cards: from the call of AuthorizeSecurityGroupIngress until every card has answered that its kernel has the rule,
 * at 2, 10 and 50 cards (processes in network namespaces of this machine, one interface each). Production code of region, cell and card; the
 * router's HTTP and the agent's relay are left out. After each call every card's nftables are read: a rule that is missing ends the run.
 *
 *   node bench/rollout-real.ts [cards…] [--changes 20]
 */
import { setTimeout as delay } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import { monotonicMs } from '#base/monotonic.ts';
import { startTestRegion } from '../test/region/test-region.ts';
import { RealCards } from './support/realCards.ts';

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: { changes: { type: 'string', default: '20' } },
});
const sizes = positionals.length > 0 ? positionals.map(Number) : [2, 10, 50];
const changes = Number(values.changes);
const restMs = 300;
const firstPort = 40_000;

const region = await startTestRegion({ pushWaitMsMax: 30_000 });
try {
  console.log(`from the call to the rule in every card's nftables; ${changes} changes, ${restMs} ms apart`);
  console.log('cards       p50       p99       max');
  for (const size of sizes) {
    const client = await region.account();
    await using cards = await RealCards.create(region, client, size);
    const ms: number[] = [];
    for (let n = 0; n <= changes; n += 1) {
      const port = firstPort + n;
      const change = {
        GroupId: cards.groupId,
        IpPermissions: [
          { IpProtocol: 'tcp', FromPort: port, ToPort: port, IpRanges: [{ CidrIp: '192.0.2.0/24' }] },
        ],
      };
      const beganMs = monotonicMs();
      await client.call('AuthorizeSecurityGroupIngress', change);
      // The first one finds nothing warm.
      if (n > 0) ms.push(monotonicMs() - beganMs);
      const lacking = await cards.without(port);
      if (lacking.length > 0)
        throw new Error(`the call has returned, and ${lacking.join(', ')} lacks the rule`);
      await delay(restMs);
    }
    ms.sort((a, b) => a - b);
    const at = (q: number): string =>
      `${(ms[Math.min(ms.length - 1, Math.floor(q * ms.length))] ?? 0).toFixed(0)} ms`.padStart(9);
    console.log(`${String(size).padStart(5)} ${at(0.5)} ${at(0.99)} ${at(1)}`);
  }
} finally {
  await region.stop();
}
