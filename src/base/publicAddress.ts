/**
 * Which addresses a client may have Pando connect to: public unicast ones, and what the operator has allowed. Loopback, private and
 * link-local networks (the metadata service is one), shared and reserved ranges are refused, in IPv6's ways of writing them too.
 */
import ipaddr from 'ipaddr.js';

/** @throws TypeError for what is no range */
export const parseRanges = (ranges: readonly string[]): readonly [ipaddr.IPv4 | ipaddr.IPv6, number][] =>
  ranges.map((range) => {
    if (!ipaddr.isValidCIDR(range))
      throw new TypeError(`${range} is no range of addresses such as 203.0.113.0/24`);
    return ipaddr.parseCIDR(range);
  });

/** Why an address is refused; undefined: it may be reached. */
export const refusalOf = (
  address: string,
  allowed: readonly [ipaddr.IPv4 | ipaddr.IPv6, number][] = [],
): string | undefined => {
  if (!ipaddr.isValid(address)) return `${address.slice(0, 64)} is no address`;
  // An IPv4 address that is written as one of IPv6 is that IPv4 address.
  const parsed = ipaddr.process(address);
  const matches = ([range, bits]: readonly [ipaddr.IPv4 | ipaddr.IPv6, number]): boolean =>
    range.kind() === parsed.kind() && parsed.match(range, bits);
  if (allowed.some(matches)) return undefined;
  const kind = parsed.range();
  return kind === 'unicast' ? undefined : `${address} is ${kind}: only public addresses are reached`;
};

/** The host of a URL as it is looked up: without the brackets of IPv6. */
export const hostOf = ({ hostname }: URL): string => hostname.replace(/^\[|\]$/g, '');

/** What is wrong with a callback's URL that can be told without looking its name up; undefined: nothing. */
export const callbackObjection = (
  text: string,
  allowed: readonly [ipaddr.IPv4 | ipaddr.IPv6, number][] = [],
): string | undefined => {
  if (!URL.canParse(text)) return 'it is no URL';
  const url = new URL(text);
  if (url.protocol !== 'https:' && url.protocol !== 'http:') return 'it is neither https nor http';
  if (url.username !== '' || url.password !== '') return 'it contains a user or a password';
  const host = hostOf(url);
  if (ipaddr.isValid(host)) return refusalOf(host, allowed);
  return /(?:^|\.)(?:localhost|internal|local)\.?$/i.test(host)
    ? `${host} is a name of a private network`
    : undefined;
};
