/** Configuration of a gateway process. */
import { z } from 'zod';
import { tlsFiles } from '#base/config.ts';

/** Where no packet of a VPC goes through the internet gateway: control plane, loopback, link-local, private and reserved ranges. */
const deniedByDefault = [
  '0.0.0.0/8',
  '10.0.0.0/8',
  '100.64.0.0/10',
  '127.0.0.0/8',
  '169.254.0.0/16',
  '172.16.0.0/12',
  '192.168.0.0/16',
  '198.18.0.0/15',
  '224.0.0.0/3',
];

export const gatewayConfig = z.object({
  name: z.string().regex(/^[A-Za-z0-9._-]{1,40}$/),
  stateDir: z.string(),
  /** Namespaces of VPCs are named `<runPrefix><name>-<vpcId>`. */
  runPrefix: z.string().regex(/^[A-Za-z0-9._-]{0,40}$/),
  /** Name (under /run/netns) of the namespace in which this process runs. */
  netns: z.string(),
  underlayDevice: z.string(),
  vtep: z.ipv4(),
  /** Device towards the machine (or a router); its namespace has the default route there. */
  uplinkDevice: z.string(),
  /** Destinations that VPCs cannot open a connection to, besides the gateway's own neighbours on the uplink. */
  denied: z.array(z.cidrv4()).default(deniedByDefault),
  region: z.object({
    host: z.string(),
    port: z.number().int(),
    identity: z.string().startsWith('spiffe://').default('spiffe://pando/region/'),
  }),
  tls: tlsFiles,
});
export type GatewayConfig = z.infer<typeof gatewayConfig>;
