/** Addresses, neighbours, forwarding entries and routes of a VPC, shared by cards and the gateway. */
import type { VpcState } from '#contracts/network.ts';
import { canonicalCidr, parseCidr } from '../addresses.ts';
import { gatewayNextHop, metadataAddress, overlayDevice } from '../limits.ts';
import type { Endpoint, PlacedPort } from './place.ts';
import { word } from './safe.ts';

export interface MutableRoutes {
  readonly addresses: Set<string>;
  readonly links: Map<string, number>;
  readonly neighbours: Map<string, string>;
  readonly fdb: Map<string, string>;
  readonly routes: Map<string, string>;
  readonly rules: Set<string>;
}

const arrivalPreference = 50;
/** Not the number of a subnet's table: those are addresses. */
const arrivalTable = 1000;
const lookupMainPreference = 100;
const fromTapPreference = 900;
const fromSubnetPreference = 1000;

/** Ports of the VPC as routes: the common part of every device. */
export const portRoutes = (
  state: VpcState,
  ports: readonly PlacedPort[],
  vxlanPort: number,
): MutableRoutes => {
  const model: MutableRoutes = {
    addresses: new Set(),
    links: new Map([[overlayDevice, state.mtu]]),
    neighbours: new Map(),
    fdb: new Map(),
    routes: new Map(state.cidrs.map((cidr) => [`${canonicalCidr(word(cidr))} table main`, 'unreachable'])),
    rules: new Set(),
  };
  const routers = new Map(state.subnets.map(({ subnetId, router }) => [subnetId, router]));
  for (const { port, local, place } of ports) {
    const ip = word(port.ip);
    if (local?.wired) {
      model.links.set(word(local.tap), state.mtu);
      model.neighbours.set(`${ip} dev ${local.tap}`, word(port.mac));
    }
    const router = routers.get(port.subnetId);
    const toTap = (tap: string): string => `dev ${tap}${router === undefined ? '' : ` src ${word(router)}`}`;
    if (local?.wired && local.arriving && !local.active) addArrival(model, ip, toTap(local.tap));
    if (place?.kind === 'tap') model.routes.set(`${ip} table main`, toTap(place.tap));
    else if (place?.kind === 'overlay') model.routes.set(`${ip} table main`, `dev ${overlayDevice}`);
    const to = place?.kind === 'overlay' ? place.to : local?.preparedRedirect;
    if (to !== undefined) {
      model.neighbours.set(`${ip} dev ${overlayDevice}`, word(port.mac));
      model.fdb.set(word(port.mac), fdbTarget(to, vxlanPort));
    }
  }
  return model;
};

/** What comes from elsewhere, and what the namespace itself answers, finds the tap of a port that is about to be here. */
const addArrival = (model: MutableRoutes, ip: string, toTap: string): void => {
  model.routes.set(`${ip} table ${arrivalTable}`, toTap);
  for (const from of [overlayDevice, 'lo'])
    model.rules.add(`pref ${arrivalPreference} iif ${from} lookup ${arrivalTable}`);
};

/** What only a card has: router addresses, the route tables of the subnets, the way to the internet gateway. */
export const addCardRoutes = (
  model: MutableRoutes,
  state: VpcState,
  ports: readonly PlacedPort[],
  vxlanPort: number,
): void => {
  model.addresses.add(`${metadataAddress}/32`);
  for (const { router } of state.subnets) model.addresses.add(`${word(router)}/32`);
  const gateway = state.internetGateway;
  if (gateway !== undefined) {
    model.neighbours.set(`${gatewayNextHop} dev ${overlayDevice}`, word(gateway.mac));
    model.fdb.set(gateway.mac, fdbTarget({ ip: word(gateway.vtep), port: vxlanPort }, vxlanPort));
  }
  model.rules.add(`pref ${lookupMainPreference} lookup main`);
  const byEni = new Map(ports.map((placed) => [placed.port.eniId, placed]));
  for (const subnet of state.subnets) {
    const table = tableOf(subnet.cidr);
    for (const { destination, target } of subnet.routes) {
      const key = `${routeDestination(word(destination))} table ${table}`;
      if (target.kind === 'internet-gateway')
        model.routes.set(
          key,
          gateway === undefined ? 'blackhole' : `via ${gatewayNextHop} dev ${overlayDevice} onlink`,
        );
      else if (target.kind === 'interface') model.routes.set(key, viaPort(byEni.get(target.eniId)));
      else if (target.kind === 'blackhole') model.routes.set(key, 'blackhole');
    }
    model.rules.add(`pref ${fromSubnetPreference} from ${canonicalCidr(word(subnet.cidr))} lookup ${table}`);
  }
  // What leaves a tap follows the tap's subnet whatever its source: a routing appliance sends other people's addresses.
  const subnets = new Map(state.subnets.map((subnet) => [subnet.subnetId, subnet]));
  for (const { port, local } of ports) {
    const subnet = subnets.get(port.subnetId);
    if (local !== undefined && subnet !== undefined)
      model.rules.add(`pref ${fromTapPreference} iif ${local.tap} lookup ${tableOf(subnet.cidr)}`);
  }
};

const viaPort = (placed: PlacedPort | undefined): string => {
  if (placed?.place === undefined) return 'blackhole';
  const dev = placed.place.kind === 'tap' ? placed.place.tap : overlayDevice;
  return `via ${placed.port.ip} dev ${dev} onlink`;
};

/** A subnet's routing table: its network address as a number, which no other subnet of the VPC has. */
const tableOf = (cidr: string): number => parseCidr(cidr).network;

/** As the kernel prints it: `default`, a bare host address, or a range. */
const routeDestination = (cidr: string): string => {
  if (!cidr.includes('/')) return cidr;
  const canonical = canonicalCidr(cidr);
  if (canonical.endsWith('/32')) return canonical.slice(0, -3);
  return canonical.endsWith('/0') ? 'default' : canonical;
};

const fdbTarget = (to: Endpoint, vxlanPort: number): string =>
  to.port === vxlanPort ? to.ip : `${to.ip} port ${to.port}`;
