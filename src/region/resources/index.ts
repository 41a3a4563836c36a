/** All actions that the region answers. */
import type { ActionTable } from '#wire/actions.ts';
import type { Handlers } from '#wire/types.ts';
import { absentHandlers } from '../absent/index.ts';
import type { ActionContext } from '../context.ts';
import { accountSettingsHandlers } from './account-settings.ts';
import { addressHandlers } from './addresses.ts';
import { classicLinkHandlers } from './classic-link.ts';
import { dhcpOptionsHandlers } from './dhcp-options.ts';
import { eventWindowHandlers } from './event-windows.ts';
import { groupReportHandlers } from './group-reports.ts';
import { imageAttributeHandlers } from './image-attribute.ts';
import { imageHandlers } from './images.ts';
import { internetGatewayHandlers } from './internet-gateways.ts';
import { keyPairHandlers } from './key-pairs.ts';
import { launchTemplateVersionHandlers } from './launch-template-versions.ts';
import { launchTemplateHandlers } from './launch-templates.ts';
import { regionMembers } from './members.ts';
import { metadataDefaultsHandlers } from './metadata-defaults.ts';
import { networkAclHandlers } from './network-acls.ts';
import { networkInterfaceHandlers } from './network-interfaces.ts';
import { placementGroupHandlers } from './placement-groups.ts';
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
  ...absentHandlers,
  ...accountSettingsHandlers,
  ...addressHandlers,
  ...classicLinkHandlers,
  ...dhcpOptionsHandlers,
  ...eventWindowHandlers,
  ...groupReportHandlers,
  ...imageAttributeHandlers,
  ...imageHandlers,
  ...internetGatewayHandlers,
  ...keyPairHandlers,
  ...launchTemplateHandlers,
  ...launchTemplateVersionHandlers,
  ...metadataDefaultsHandlers,
  ...networkAclHandlers,
  ...networkInterfaceHandlers,
  ...placementGroupHandlers,
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

export const regionTable: ActionTable<ActionContext> = { handlers: regionActions, members: regionMembers };
