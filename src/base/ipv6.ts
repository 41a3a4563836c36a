/** IPv6 networks as text, read and written by `ipaddr.js`. */
import ipaddr from 'ipaddr.js';

/** The longest that a network can be written: eight groups, a dotted end, a prefix. */
const charsMax = 50;

/** The network of `x::y/n` in the form of RFC 5952, host bits cleared; undefined if it is none. */
export const canonicalIpv6Network = (text: string): string | undefined => {
  // A zone (`%eth0`) is of one machine's interfaces, and of no network.
  if (text.length > charsMax || text.includes('%') || !ipaddr.IPv6.isValidCIDR(text)) return undefined;
  const [, prefix] = ipaddr.IPv6.parseCIDR(text);
  return `${ipaddr.IPv6.networkAddressFromCIDR(text).toRFC5952String()}/${prefix}`;
};
