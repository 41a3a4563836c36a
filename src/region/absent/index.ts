/** All collections of EC2 that this region has nothing of. */
import type { Handlers } from '#wire/types.ts';
import type { ActionContext } from '../context.ts';
import { absentAddressingHandlers } from './addressing.ts';
import { absentCapacityHandlers } from './capacity.ts';
import { absentConnectionHandlers } from './connections.ts';
import { absentGatewayHandlers } from './gateways.ts';
import { absentStorageHandlers } from './storage.ts';

export const absentHandlers: Handlers<ActionContext> = {
  ...absentAddressingHandlers,
  ...absentCapacityHandlers,
  ...absentConnectionHandlers,
  ...absentGatewayHandlers,
  ...absentStorageHandlers,
};
