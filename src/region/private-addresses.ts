/** Addresses of a subnet that are asked for by name. */
import { PandoError } from '#contracts/errors.ts';
import { reservedFirstHosts } from './default-vpc.ts';
import { parseAddress } from './ipv4.ts';
import type { Row } from './schema.ts';

/**
 * The number of an address within its subnet, when an interface may have it.
 *
 * @throws InvalidParameterValue: no address, outside of the subnet, or one of those that EC2 keeps for itself
 */
export const requireHost = (text: string, subnet: Pick<Row<'subnet'>, 'base' | 'last_host'>): number => {
  const shown = text.slice(0, 64);
  const address = parseAddress(text);
  if (address === undefined)
    throw new PandoError('InvalidParameterValue', `invalid value for parameter address: ${shown}`);
  const host = address - subnet.base;
  // The broadcast address follows the last host.
  if (host < 0 || host > subnet.last_host + 1)
    throw new PandoError(
      'InvalidParameterValue',
      `Address ${shown} does not fall within the subnet's address range`,
    );
  if (host < reservedFirstHosts || host > subnet.last_host)
    throw new PandoError('InvalidParameterValue', `Address ${shown} is in subnet's reserved address range`);
  return host;
};
