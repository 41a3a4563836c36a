/** IPv4 addresses and networks as numbers of 32 bits; texts are read and written by `ipaddr.js`. */
import ipaddr from 'ipaddr.js';

/** A network: `base` is its first address, `size` how many it has. */
export interface Network {
  readonly base: number;
  readonly prefix: number;
  readonly size: number;
}

const toNumber = (address: ipaddr.IPv4): number =>
  address.octets.reduce((sum, octet) => sum * 256 + octet, 0);

/** The number of a dotted address; undefined if it is none. No leading zeros, as they mean octal to some. */
export const parseAddress = (text: string): number | undefined =>
  ipaddr.IPv4.isValidFourPartDecimal(text) ? toNumber(ipaddr.IPv4.parse(text)) : undefined;

export const formatAddress = (address: number): string =>
  new ipaddr.IPv4([24, 16, 8, 0].map((shift) => Math.floor(address / 2 ** shift) % 256)).toString();

/** The network of `a.b.c.d/n`, host bits cleared; undefined if it is none. */
export const parseNetwork = (text: string): Network | undefined => {
  const slash = text.indexOf('/');
  const address = parseAddress(text.slice(0, slash));
  const prefixText = text.slice(slash + 1);
  if (slash < 0 || address === undefined || !/^\d{1,2}$/.test(prefixText)) return undefined;
  const prefix = Number(prefixText);
  if (prefix > 32) return undefined;
  const size = 2 ** (32 - prefix);
  return { base: Math.floor(address / size) * size, prefix, size };
};

/** As the kernel prints it: `10.0.0.0/16`. */
export const formatNetwork = (network: Network): string => `${formatAddress(network.base)}/${network.prefix}`;

/** `255.255.255.0` of a network of 24 bits. */
export const netmaskOf = (network: Network): string =>
  ipaddr.IPv4.subnetMaskFromPrefixLength(network.prefix).toString();

export const overlaps = (a: Network, b: Network): boolean =>
  a.base < b.base + b.size && b.base < a.base + a.size;

export const contains = (outer: Network, inner: Network): boolean =>
  outer.base <= inner.base && inner.base + inner.size <= outer.base + outer.size;
