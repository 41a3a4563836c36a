/** IPv4 arithmetic on numbers of 32 bits. */
import { PandoError } from '#contracts/errors.ts';

/** A network: `base` is its first address, `size` how many it has. */
export interface Network {
  readonly base: number;
  readonly prefix: number;
  readonly size: number;
}

/** The number of a dotted address; undefined if it is none. No leading zeros, as they mean octal to some. */
export const parseAddress = (text: string): number | undefined => {
  const parts = text.split('.');
  if (parts.length !== 4 || !parts.every((part) => /^(0|[1-9]\d{0,2})$/.test(part) && Number(part) <= 255))
    return undefined;
  return parts.reduce((sum, part) => sum * 256 + Number(part), 0);
};

export const formatAddress = (address: number): string =>
  [24, 16, 8, 0].map((shift) => Math.floor(address / 2 ** shift) % 256).join('.');

/** The network of `a.b.c.d/n`, host bits cleared; undefined if it is none. */
export const parseNetwork = (text: string): Network | undefined => {
  const [address = '', prefixText = '', ...rest] = text.split('/');
  const number = parseAddress(address);
  const prefix = /^\d{1,2}$/.test(prefixText) ? Number(prefixText) : Number.NaN;
  if (number === undefined || rest.length > 0 || !(prefix >= 0 && prefix <= 32)) return undefined;
  const size = 2 ** (32 - prefix);
  return { base: Math.floor(number / size) * size, prefix, size };
};

export const formatNetwork = (network: Network): string => `${formatAddress(network.base)}/${network.prefix}`;

/** The network that an API caller wrote, host bits cleared as EC2 does, or EC2's error. */
export const requireNetwork = (text: string, parameter: string): Network => {
  const network = parseNetwork(text);
  if (network !== undefined) return network;
  throw new PandoError(
    'InvalidParameterValue',
    `Value (${text.slice(0, 64)}) for parameter ${parameter} is invalid. This is not a valid CIDR block.`,
  );
};

export const overlaps = (a: Network, b: Network): boolean =>
  a.base < b.base + b.size && b.base < a.base + a.size;

export const contains = (outer: Network, inner: Network): boolean =>
  outer.base <= inner.base && inner.base + inner.size <= outer.base + outer.size;
