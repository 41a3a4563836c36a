/** What this processor reaches, as workflows name it when they wait for it. */
import type { Caller } from '#base/rpc/contract.ts';
import { PandoError } from '#contracts/errors.ts';
import type { regionContract } from '#contracts/region.ts';

/** A host as a workflow waits for it. */
export const hostResource = (hostId: string): string => `host/${hostId}`;
export const regionResource = 'region';

/** An error of the link to `resource`, named so that who waits is woken when that is back; other errors as they are. */
export const namingResource = (error: unknown, resource: string): unknown =>
  error instanceof PandoError && error.class === 'unreachable' && error.details?.resource === undefined
    ? new PandoError(error.code, error.message, { cause: error, details: { ...error.details, resource } })
    : error;

/** The region's calls, whose failures name it. */
export const namedRegion = (region: Caller<typeof regionContract>): Caller<typeof regionContract> => ({
  call: async (method, params, options) => {
    try {
      return await region.call(method, params, options);
    } catch (error) {
      throw namingResource(error, regionResource);
    }
  },
});
