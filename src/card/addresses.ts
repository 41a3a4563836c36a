/** IPv4 arithmetic. */

/** `10.0.0.1` → 0x0a000001. */
export const ipToNumber = (ip: string): number =>
  ip.split('.').reduce((sum, part) => sum * 256 + Number.parseInt(part, 10), 0);

export const numberToIp = (value: number): string =>
  [24, 16, 8, 0].map((shift) => Math.floor(value / 2 ** shift) % 256).join('.');

/** Network address and prefix length; host bits are cleared. */
export const parseCidr = (cidr: string): { network: number; bits: number } => {
  const [ip = '', length = '32'] = cidr.split('/');
  const bits = Number.parseInt(length, 10);
  const size = 2 ** (32 - bits);
  return { network: Math.floor(ipToNumber(ip) / size) * size, bits };
};

/** The range with host bits cleared, as the kernel prints it (`10.0.0.0/16`). */
export const canonicalCidr = (cidr: string): string => {
  const { network, bits } = parseCidr(cidr);
  return `${numberToIp(network)}/${bits}`;
};

/** Netmask of a range: `10.0.0.0/24` → `255.255.255.0`. */
export const netmask = (cidr: string): string => {
  const { bits } = parseCidr(cidr);
  return numberToIp(2 ** 32 - 2 ** (32 - bits));
};

export const isIpv4Cidr = (cidr: string): boolean =>
  /^(\d{1,3}\.){3}\d{1,3}(\/([12]?\d|3[0-2]))?$/.test(cidr);
