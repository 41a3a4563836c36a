/** A VPC under the installation's settings. Pure. */
import type { VpcState } from '#contracts/network.ts';
import type { FleetBody } from '#contracts/network-objects.ts';

export const underFleet = (
  state: VpcState,
  { mtu, dnsServers, blackholes = [] }: Pick<FleetBody, 'mtu' | 'dnsServers' | 'blackholes'>,
): VpcState => {
  const nowhere = blackholes.map((destination) => ({ destination, target: { kind: 'blackhole' as const } }));
  return {
    ...state,
    mtu: Math.min(state.mtu, mtu ?? state.mtu),
    // A VPC with DHCP options of its own has its own servers.
    dnsServers: state.dhcp === undefined ? (dnsServers ?? state.dnsServers) : state.dnsServers,
    subnets:
      nowhere.length === 0
        ? state.subnets
        : state.subnets.map((subnet) => ({ ...subnet, routes: [...subnet.routes, ...nowhere] })),
  };
};
