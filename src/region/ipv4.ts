/** Networks as callers of the API write them. */
import { type Network, overlaps, parseNetwork } from '#base/ipv4.ts';
import { PandoError } from '#contracts/errors.ts';

export {
  contains,
  formatAddress,
  formatNetwork,
  type Network,
  overlaps,
  parseAddress,
  parseNetwork,
} from '#base/ipv4.ts';

/** The network that an API caller wrote, host bits cleared as EC2 does, or EC2's error. */
export const requireNetwork = (text: string, parameter: string): Network => {
  const network = parseNetwork(text);
  if (network !== undefined) return network;
  throw new PandoError(
    'InvalidParameterValue',
    `Value (${text.slice(0, 64)}) for parameter ${parameter} is invalid. This is not a valid CIDR block.`,
  );
};

const vpcPrefixMin = 16;
const vpcPrefixMax = 28;
/** This network, loopback, link-local, multicast: EC2 gives them to no VPC. */
const neverOfVpcs = ['0.0.0.0/8', '127.0.0.0/8', '169.254.0.0/16', '224.0.0.0/4'].flatMap(
  (text) => parseNetwork(text) ?? [],
);

/** A range that a VPC may have. @throws InvalidParameterValue: no range at all; InvalidVpc.Range */
export const requireVpcRange = (text: string): Network => {
  const network = requireNetwork(text, 'cidrBlock');
  const sized = network.prefix >= vpcPrefixMin && network.prefix <= vpcPrefixMax;
  if (!sized || neverOfVpcs.some((range) => overlaps(range, network)))
    throw new PandoError('InvalidVpc.Range', `The CIDR '${text.slice(0, 64)}' is invalid.`);
  return network;
};
