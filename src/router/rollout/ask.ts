/** Passes an operator's request on to the region. */
import type { IncomingMessage } from 'node:http';
import type { EndpointOptions } from '../http/server.ts';
import type { RolloutHttpAnswer, RolloutHttpRequest } from '../regionLink.ts';

/** What nobody has signed counts against its source. @throws as `RegionLink.rolloutHttp` does */
export const ask = async (
  { parts, read: { sources } }: Pick<EndpointOptions, 'parts' | 'read'>,
  request: IncomingMessage,
  asked: RolloutHttpRequest,
): Promise<RolloutHttpAnswer> => {
  const answered = await parts.region.rolloutHttp(asked);
  if (answered.operator === undefined && answered.status < 500) sources.failed(request.socket.remoteAddress);
  return answered;
};
