/**
 * What the webhook sender may reach on the network, by the kernel: names' servers, public addresses, and the ranges that the operator
 * allows. The networks of every run, loopback and private networks are closed to its user, whatever its code does.
 */
import { exec } from '#base/exec.ts';
import { userOf } from '#node/users.ts';
import type { LabPlan } from './plan.ts';

/** Management and underlay of every run of the lab: no range that the operator allows opens them. */
const runNetworks = '198.18.0.0/16';
/** As `#base/publicAddress.ts` refuses them, which asks the same of each address that a name has. */
const closed4 = [
  ...['0.0.0.0/8', '10.0.0.0/8', '100.64.0.0/10', '127.0.0.0/8', '169.254.0.0/16', '172.16.0.0/12'],
  ...['192.0.0.0/24', '192.0.2.0/24', '192.168.0.0/16', '198.18.0.0/15', '198.51.100.0/24'],
  ...['203.0.113.0/24', '224.0.0.0/3'],
];
/** All but global unicast; in that, what carries an IPv4 address or is no network. */
const closed6 = ['::/3', '2001::/23', '2001:db8::/32', '2002::/16', '4000::/2', '8000::/1'];
const namesPort = 53;

const tableOf = (prefix: string): string => `pando_webhooks_${prefix}`;
const set = (ranges: readonly string[]): string => `{ ${ranges.join(', ')} }`;

/** The whole table. Pure. */
export const webhookFence = (prefix: string, uid: number, allowed: readonly string[]): string => {
  const table = tableOf(prefix);
  const allowed4 = allowed.filter((range) => !range.includes(':'));
  const allowed6 = allowed.filter((range) => range.includes(':'));
  const refuse = 'counter reject with icmpx admin-prohibited';
  return `table inet ${table}
delete table inet ${table}
table inet ${table} {
  chain output {
    type filter hook output priority filter; policy accept;
    meta skuid ${uid} goto sender
  }
  chain sender {
    ip daddr ${runNetworks} ${refuse}
    meta l4proto { tcp, udp } th dport ${namesPort} accept
    ${allowed4.length === 0 ? '' : `ip daddr ${set(allowed4)} accept`}
    ${allowed6.length === 0 ? '' : `ip6 daddr ${set(allowed6)} accept`}
    ip daddr ${set(closed4)} ${refuse}
    ip6 daddr ${set(closed6)} ${refuse}
  }
}
`;
};

/** Puts the table in place in one transaction: there is no moment without it. */
export const ensureWebhookFence = async (
  { prefix, index }: Pick<LabPlan, 'prefix' | 'index'>,
  allowed: readonly string[],
): Promise<void> => {
  const { uid } = userOf(index, { role: 'webhooks' });
  await exec('nft', ['-f', '-'], { input: webhookFence(prefix, uid, allowed) });
};

export const removeWebhookFence = async (prefix: string): Promise<void> => {
  const table = tableOf(prefix);
  await exec('nft', ['-f', '-'], { input: `table inet ${table}\ndelete table inet ${table}\n` });
};
