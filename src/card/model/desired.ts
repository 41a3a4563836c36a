/** What a card's kernel should hold for a VPC. Pure. */
import type { VmMetadata, VpcState } from '#contracts/network.ts';
import type { FleetBody } from '#contracts/network-objects.ts';
import { vxlanPort } from '../limits.ts';
import { cardFirewall } from './firewall.ts';
import type { Model } from './model.ts';
import { type LocalState, placePorts } from './place.ts';
import { addCardRoutes, portRoutes } from './routes.ts';

/** The model of `state` on the card at `vtep`, with the ports that are attached there. */
export const desiredOnCard = (
  state: VpcState,
  locals: LocalState,
  metadata: ReadonlyMap<string, VmMetadata>,
  vtep: string,
  fleet: FleetBody = {},
): Model => {
  const ports = placePorts(state, locals, vtep, vxlanPort);
  const routes = portRoutes(state, ports, vxlanPort);
  addCardRoutes(routes, state, ports, vxlanPort);
  return { ...routes, ...cardFirewall(state, ports, metadata, fleet) };
};
