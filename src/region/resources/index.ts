/** All actions that the region answers. */
import type { Handlers } from '#wire/types.ts';
import type { ActionContext } from '../context.ts';
import { addressHandlers } from './addresses.ts';
import { dhcpOptionsHandlers } from './dhcp-options.ts';
import { imageHandlers } from './images.ts';
import { internetGatewayHandlers } from './internet-gateways.ts';
import { keyPairHandlers } from './key-pairs.ts';
import { metadataDefaultsHandlers } from './metadata-defaults.ts';
import { networkAclHandlers } from './network-acls.ts';
import { networkInterfaceHandlers } from './network-interfaces.ts';
import { routeTableHandlers } from './route-tables.ts';
import { routeHandlers } from './routes.ts';
import { securityGroupRuleHandlers } from './security-group-rules.ts';
import { securityGroupHandlers } from './security-groups.ts';
import { subnetHandlers } from './subnets.ts';
import { tagHandlers } from './tags.ts';
import { vpcCidrBlockHandlers } from './vpc-cidr-blocks.ts';
import { vpcHandlers } from './vpcs.ts';
import { zoneHandlers } from './zones.ts';

export const regionActions: Handlers<ActionContext> = {
  ...addressHandlers,
  ...dhcpOptionsHandlers,
  ...imageHandlers,
  ...internetGatewayHandlers,
  ...keyPairHandlers,
  ...metadataDefaultsHandlers,
  ...networkAclHandlers,
  ...networkInterfaceHandlers,
  ...routeTableHandlers,
  ...routeHandlers,
  ...securityGroupRuleHandlers,
  ...securityGroupHandlers,
  ...subnetHandlers,
  ...tagHandlers,
  ...vpcCidrBlockHandlers,
  ...vpcHandlers,
  ...zoneHandlers,
};
