/** Ranges of declared state, as the kernel wants them. A bare address is a range of one. */
import { formatNetwork, type Network, netmaskOf, parseNetwork } from '#base/ipv4.ts';

const networkOf = (cidr: string): Network | undefined =>
  parseNetwork(cidr.includes('/') ? cidr : `${cidr}/32`);

const requireNetwork = (cidr: string): Network => {
  const network = networkOf(cidr);
  if (network === undefined) throw new RangeError(`"${cidr.slice(0, 64)}" is not a range of IPv4`);
  return network;
};

/** Network address and prefix length; host bits are cleared. */
export const parseCidr = (cidr: string): { network: number; bits: number } => {
  const { base, prefix } = requireNetwork(cidr);
  return { network: base, bits: prefix };
};

/** The range with host bits cleared, as the kernel prints it (`10.0.0.0/16`). */
export const canonicalCidr = (cidr: string): string => formatNetwork(requireNetwork(cidr));

/** Netmask of a range: `10.0.0.0/24` → `255.255.255.0`. */
export const netmask = (cidr: string): string => netmaskOf(requireNetwork(cidr));

export const isIpv4Cidr = (cidr: string): boolean => networkOf(cidr) !== undefined;
