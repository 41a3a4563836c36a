/** Records of network operations (S1.2). */
import { createHash } from 'node:crypto';
import type { NetworkOperation } from '#contracts/network.ts';

/** A recorded result. Its id is the same when the same operation is asked for again. */
export const operation = (
  kind: NetworkOperation['kind'],
  eniId: string,
  result: { tap?: string; mac?: string },
): NetworkOperation => ({
  operationId: `netop-${createHash('sha256').update(`${kind} ${eniId}`).digest('hex').slice(0, 17)}`,
  kind,
  ranOn: 'card',
  ...result,
  at: new Date().toISOString(),
});
