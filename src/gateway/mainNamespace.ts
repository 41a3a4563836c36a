/** The gateway's own namespace: routes public addresses to their VPCs, and keeps VPCs away from everything but the uplink. */
import { z } from 'zod';
import { exec } from '#base/exec.ts';
import { runHere } from '#card/kernel/namespace.ts';
import { ToolBatch } from '#card/kernel/toolBatch.ts';
import { scriptTimeoutMs } from '#card/limits.ts';
import { cableInside, routeProtocol } from './limits.ts';

/** Forwarding, and a firewall by which a VPC's cable leads to the uplink or to another cable, nowhere else. */
export const prepareMainNamespace = async (uplink: string): Promise<void> => {
  await runHere(`for setting in ip_forward=1 conf/all/rp_filter=0 conf/default/rp_filter=0 conf/${uplink}/rp_filter=0 \\
  conf/all/send_redirects=0 conf/default/send_redirects=0 conf/${uplink}/send_redirects=0 conf/${uplink}/proxy_arp=1; do
  echo "\${setting#*=}" >"/proc/sys/net/ipv4/\${setting%%=*}"
done
echo 0 >/proc/sys/net/ipv4/neigh/${uplink}/proxy_delay
nft -f - <<'END'
add table inet pando
delete table inet pando
add table inet pando
add chain inet pando input { type filter hook input priority filter; policy accept; }
add rule inet pando input ct state established,related accept
add rule inet pando input iifname "gw*" drop
add rule inet pando input iifname "${uplink}" meta l4proto != icmp drop
add chain inet pando forward { type filter hook forward priority filter; policy drop; }
add rule inet pando forward iifname "gw*" oifname { "${uplink}", "gw*" } accept
add rule inet pando forward iifname "${uplink}" oifname "gw*" accept
END
`);
};

const routes = z.array(z.object({ dst: z.string(), dev: z.string().optional() }));
const addresses = z.array(
  z.object({ addr_info: z.array(z.object({ family: z.string(), local: z.string() })).default([]) }),
);

/** The routes of public addresses (address → cable) in the gateway's own namespace. Calls of `set` follow each other. */
export class PublicRoutes {
  /** As they were written last; undefined: not known, so they are read. */
  #present: ReadonlyMap<string, string | undefined> | undefined;
  #ip: ToolBatch | undefined;
  #changes = 0;

  /** Makes them exactly these. */
  async set(wanted: ReadonlyMap<string, string>): Promise<void> {
    const changes = this.#changes;
    const present = this.#present ?? (await readRoutes());
    this.#present = undefined;
    const lines = [
      ...[...wanted]
        .filter(([ip, cable]) => present.get(ip) !== cable)
        .map(
          ([ip, cable]) =>
            `route replace ${ip}/32 via ${cableInside} dev ${cable} onlink proto ${routeProtocol}`,
        ),
      ...[...present.keys()]
        .filter((ip) => !wanted.has(ip))
        .map((ip) => `route del ${ip} proto ${routeProtocol}`),
    ];
    if (lines.length > 0) await this.#tool().run(lines, scriptTimeoutMs);
    if (changes === this.#changes) this.#present = new Map(wanted);
  }

  /** To be called when a cable was laid or cut: the kernel removes routes with a device, and the tool knows devices by their names. */
  async cablesChanged(): Promise<void> {
    const tool = this.#ip;
    this.#changes += 1;
    this.#present = undefined;
    this.#ip = undefined;
    await tool?.close();
  }

  #tool(): ToolBatch {
    if (this.#ip === undefined || this.#ip.ended) this.#ip = new ToolBatch('ip', []);
    return this.#ip;
  }
}

const readRoutes = async (): Promise<Map<string, string | undefined>> => {
  const stdout = await runHere(`ip -4 -j route show proto ${routeProtocol}\n`);
  return new Map(routes.parse(JSON.parse(stdout || '[]')).map(({ dst, dev }) => [dst, dev]));
};

/** Takes back what `prepareMainNamespace` and `PublicRoutes` did. */
export const clearMainNamespace = async (): Promise<void> => {
  const publicRoutes = new PublicRoutes();
  await publicRoutes.set(new Map());
  await publicRoutes.cablesChanged();
  await exec('nft', ['-f', '-'], { input: 'add table inet pando\ndelete table inet pando\n' });
};

/** Addresses that VPCs must not reach: our own ones on the uplink, and the neighbour that is the default route. */
export const uplinkAddresses = async (uplink: string): Promise<string[]> => {
  const own = await exec('ip', ['-4', '-j', 'addr', 'show', 'dev', uplink]);
  const route = await exec('ip', ['-4', '-j', 'route', 'show', 'default']);
  const gateways = z
    .array(z.object({ gateway: z.string().optional() }))
    .parse(JSON.parse(route.stdout || '[]'))
    .flatMap(({ gateway }) => gateway ?? []);
  return [
    ...addresses
      .parse(JSON.parse(own.stdout))
      .flatMap(({ addr_info }) => addr_info.map(({ local }) => local)),
    ...gateways,
  ];
};
