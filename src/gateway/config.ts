/** Configuration of a gateway process. */
import { z } from 'zod';
import { endpoint } from '#base/config.ts';
import { deviceConfig } from '#card/config.ts';

/** Where no packet of a VPC goes through the internet gateway: loopback, link-local, private and reserved ranges. */
export const reservedRanges: readonly string[] = [
  '0.0.0.0/8',
  '10.0.0.0/8',
  '100.64.0.0/10',
  '127.0.0.0/8',
  '169.254.0.0/16',
  '172.16.0.0/12',
  '192.168.0.0/16',
  '224.0.0.0/3',
];

const region = endpoint.extend({
  identity: z.string().startsWith('spiffe://').default('spiffe://pando/region/'),
});

export const gatewayConfig = deviceConfig.extend({
  /** Device towards the machine (or a router); its namespace has the default route there. */
  uplinkDevice: z.string(),
  /**
   * Destinations that VPCs cannot open a connection to, besides the reserved ranges and the gateway's own neighbours on the
   * uplink: where the control plane and the underlay are.
   */
  denied: z.array(z.cidrv4()).default(['198.18.0.0/15']),
  region,
  /** Further replicas of the region: it dials all of them, so that each can push network state to it. */
  regionReplicas: z.array(region).default([]),
});
export type GatewayConfig = z.infer<typeof gatewayConfig>;
