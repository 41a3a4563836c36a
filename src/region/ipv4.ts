/** Networks as callers of the API write them. */
import { type Network, parseNetwork } from '#base/ipv4.ts';
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
