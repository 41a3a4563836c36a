/** What a set of DHCP options may hold, as EC2 has it, and what of it devices are told. */
import { PandoError } from '#contracts/errors.ts';
import type { VpcState } from '#contracts/network.ts';
import { parseAddress } from './ipv4.ts';

/** One option of a set as it is kept and described. */
export interface DhcpEntry {
  readonly key: string;
  readonly values: readonly string[];
}

interface NewEntry {
  readonly Key?: string | undefined;
  readonly Values?: readonly string[] | undefined;
}

const serversMax = 4;
/** Stands for the region's own DNS servers. */
const providedDns = 'AmazonProvidedDNS';
const nodeTypes = ['1', '2', '4', '8'];
const domainCharsMax = 253;
const labelCharsMax = 63;

const invalid = (key: string, value: string, expected: string): PandoError =>
  new PandoError(
    'InvalidParameterValue',
    `Value (${value.slice(0, 64)}) for parameter ${key} is invalid. ${expected}`,
  );

const isAddress = (text: string): boolean => parseAddress(text) !== undefined;

/** Labels of letters, digits, hyphens and underscores: guests' scripts get it, so that it must be no more than names. */
const isDomain = (text: string): boolean =>
  text.length > 0 &&
  text.length <= domainCharsMax &&
  text
    .replace(/\.$/, '')
    .split('.')
    .every((label) => label.length <= labelCharsMax && /^[A-Za-z0-9_-]+$/.test(label));

const addresses =
  (also: readonly string[] = []) =>
  (key: string, values: readonly string[]): void => {
    if (values.length > serversMax)
      throw new PandoError(
        'InvalidParameterValue',
        `${key} has ${serversMax} servers at most, not ${values.length}.`,
      );
    const wrong = values.find((value) => !isAddress(value) && !also.includes(value));
    if (wrong !== undefined) throw invalid(key, wrong, 'Expecting an IPv4 address.');
  };

const one = (key: string, values: readonly string[]): string => {
  const [value = ''] = values;
  if (values.length !== 1)
    throw new PandoError('InvalidParameterValue', `${key} has one value, not ${values.length}.`);
  return value;
};

/** The keys that there are, and what their values must be. */
const checks: Readonly<Record<string, (key: string, values: readonly string[]) => void>> = {
  'domain-name-servers': addresses([providedDns]),
  'domain-name': (key, values) => {
    const value = one(key, values);
    // Several, with blanks between them, are a search list to many guests, and EC2 lets them through.
    if (value.length > domainCharsMax || !value.split(' ').every(isDomain))
      throw invalid(key, value, 'Expecting a domain name.');
  },
  'ntp-servers': addresses(),
  'netbios-name-servers': addresses(),
  'netbios-node-type': (key, values) => {
    const value = one(key, values);
    if (!nodeTypes.includes(value)) throw invalid(key, value, `Expecting one of ${nodeTypes.join(', ')}.`);
  },
};

/** @throws MissingParameter, InvalidParameterValue */
export const readDhcpConfiguration = (given: readonly NewEntry[] | undefined): DhcpEntry[] => {
  if (given === undefined || given.length === 0)
    throw new PandoError('MissingParameter', 'The request must contain the parameter DhcpConfiguration');
  const seen = new Set<string>();
  return given.map(({ Key: key = '', Values: values = [] }) => {
    const check = Object.hasOwn(checks, key) ? checks[key] : undefined;
    if (check === undefined) throw invalid('Key', key, `Expecting one of ${Object.keys(checks).join(', ')}.`);
    if (seen.has(key)) throw invalid('Key', key, 'A set has each option once.');
    seen.add(key);
    if (values.length === 0) throw new PandoError('MissingParameter', `The option ${key} must have a value.`);
    check(key, values);
    return { key, values: [...values] };
  });
};

type Told = Pick<VpcState, 'dnsServers' | 'domainName' | 'dhcp'>;

/** What devices hand out of a set; `null`: the VPC has none (`default`), and DHCP gives addresses alone. */
export const dhcpOf = (entries: readonly DhcpEntry[] | null, regionDnsServers: readonly string[]): Told => {
  const valuesOf = (key: string): readonly string[] =>
    entries?.find((entry) => entry.key === key)?.values ?? [];
  const nodeType = valuesOf('netbios-node-type')[0];
  const ntpServers = [...valuesOf('ntp-servers')];
  const netbiosNameServers = [...valuesOf('netbios-name-servers')];
  const plain = ntpServers.length === 0 && netbiosNameServers.length === 0 && nodeType === undefined;
  return {
    dnsServers: valuesOf('domain-name-servers').flatMap((server) =>
      server === providedDns ? regionDnsServers : [server],
    ),
    domainName: valuesOf('domain-name')[0] ?? '',
    ...(plain
      ? {}
      : {
          dhcp: {
            ntpServers,
            netbiosNameServers,
            ...(nodeType === undefined ? {} : { netbiosNodeType: Number(nodeType) }),
          },
        }),
  };
};
