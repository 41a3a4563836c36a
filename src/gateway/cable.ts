/** The pair of devices between a VPC's namespace and the gateway's main namespace. */
import { createHash } from 'node:crypto';
import { removeDevice } from '#base/removeDevice.ts';
import { runHere } from '#card/kernel/namespace.ts';
import { namespacePath } from '#card/kernel/paths.ts';
import { cableDevice, cableInside, cableMtu, cableOutside } from './limits.ts';

/** Name of the main namespace's end. */
export const cableName = (vni: number): string => `gw${vni.toString(16)}`;

const mac = (vni: number, end: number): string =>
  [0x02, 0x67, end, vni >> 16, (vni >> 8) & 0xff, vni & 0xff]
    .map((byte) => byte.toString(16).padStart(2, '0'))
    .join(':');

/** MAC of the VPC's end: what the main namespace sends to. */
export const insideMac = (vni: number): string => mac(vni, 1);
export const outsideMac = (vni: number): string => mac(vni, 2);

/** The address under which cards send to this gateway: of its name, so that it is the same after a restart. */
export const gatewayMac = (name: string): string => {
  const digest = createHash('sha256').update(name).digest();
  return [0x02, ...digest.subarray(0, 5)].map((byte) => byte.toString(16).padStart(2, '0')).join(':');
};

/** Lays the cable if it is not there. Nobody asks for addresses on it: neighbours are permanent at both ends. */
export const layCable = async (namespace: string, vni: number): Promise<void> => {
  const name = cableName(vni);
  await runHere(`if ip -n ${namespace} link show dev ${cableDevice} >/dev/null 2>&1; then exit 0; fi
${removeDevice(name)}ip link add name ${name} address ${outsideMac(vni)} mtu ${cableMtu} type veth \\
  peer name ${cableDevice} address ${insideMac(vni)} mtu ${cableMtu} netns ${namespace}
echo 0 >/proc/sys/net/ipv4/conf/${name}/rp_filter
echo 0 >/proc/sys/net/ipv4/conf/${name}/send_redirects
ip link set dev ${name} up
ip neigh replace ${cableInside} lladdr ${insideMac(vni)} dev ${name} nud permanent
ip addr replace ${cableOutside}/32 dev ${name}
nsenter --net=${namespacePath(namespace)} sh -e <<'END'
echo 0 >/proc/sys/net/ipv4/conf/${cableDevice}/proxy_arp
ip link set dev ${cableDevice} up
END
`);
};

export const cutCable = async (vni: number): Promise<void> => {
  await runHere(removeDevice(cableName(vni)));
};
