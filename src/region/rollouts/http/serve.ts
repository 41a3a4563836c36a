/**
 * Answers requests to `/rollout/v1/` that a router passed on: checks who signed them, finds the operation, and does what the command line's
 * call does. Never throws: what went wrong is an answer.
 */

import type { z } from 'zod';
import type { CallContext } from '#base/rpc/contract.ts';
import { PandoError } from '#contracts/errors.ts';
import { type rolloutHttpContract, rolloutHttpLimits } from '#contracts/rollout-http.ts';
import { publicError } from '#wire/encodeError.ts';
import { verifySigV4 } from '#wire/sigv4/verify.ts';
import { findOperatorKey } from '../../operator-keys.ts';
import type { Region } from '../../region.ts';
import { carryOutOperation, findOperation, type RolloutHandlers } from './operations.ts';

type Asked = z.output<(typeof rolloutHttpContract)['rollout.http']['params']>;
type Answer = z.input<(typeof rolloutHttpContract)['rollout.http']['result']>;

export interface RolloutHttpServices extends Pick<Region, 'db' | 'sealer' | 'log'> {
  readonly regionName: string;
  readonly handlers: RolloutHandlers;
  now(): number;
}

export const serveRolloutHttp = async (
  services: RolloutHttpServices,
  asked: Asked,
  context: CallContext,
): Promise<Answer> => {
  let signed: Signed | undefined;
  let operationId: string | undefined;
  const known = (): Pick<Answer, 'operationId' | 'operator' | 'accessKeyId'> => ({
    ...signed,
    ...(operationId !== undefined && { operationId }),
  });
  try {
    signed = await authenticate(services, asked);
    const found = findOperation(asked.method, asked.path);
    operationId = found.operation.operationId;
    // The operator, not the router, is who asks.
    const peer = `spiffe://pando/operator/-/${signed.operator}`;
    const output = await carryOutOperation(services.handlers, found, {
      ...{ query: new URLSearchParams(asked.query), body: bodyOf(asked.body), watched: asked.watched },
      context: { ...context, peer },
    });
    return { ...output, ...known() };
  } catch (thrown) {
    const error = PandoError.from(thrown);
    if (!(thrown instanceof PandoError))
      services.log.error(
        { err: thrown, requestId: asked.requestId },
        'a request of an operator broke inside',
      );
    return { ...errorAnswer(error, asked.requestId), ...known() };
  }
};

interface Signed {
  readonly operator: string;
  readonly accessKeyId: string;
}

/** @throws every error of `verifySigV4` */
const authenticate = async (
  { regionName, now, ...keys }: RolloutHttpServices,
  { method, path, query, headers, body }: Asked,
): Promise<Signed> => {
  const { key, accessKeyId } = await verifySigV4(
    { method, path, query, headers, body: Buffer.from(body) },
    {
      // A token is of temporary keys, which operators have none of.
      lookupKey: async (id, token) => (token === undefined ? findOperatorKey(keys, id) : undefined),
      ...{ now, regions: [regionName], services: ['ec2'] },
    },
  );
  return { operator: key.operator, accessKeyId };
};

const bodyOf = (text: string): unknown => {
  if (text === '') return undefined;
  if (Buffer.byteLength(text) > rolloutHttpLimits.bodyBytesMax)
    throw new PandoError(
      'RequestEntityTooLarge',
      `A body has ${rolloutHttpLimits.bodyBytesMax} bytes at most.`,
    );
  try {
    return JSON.parse(text);
  } catch (cause) {
    throw new PandoError('InvalidRequest', 'The body is not JSON.', { cause });
  }
};

/** `NotFound` is a code of Pando's own parts, and what an API over HTTP is expected to say. */
const errorAnswer = (error: PandoError, requestId: string): Pick<Answer, 'status' | 'body'> => {
  const isAbsent = error.code === 'NotFound';
  const { code, message, details, status } = isAbsent ? error : publicError(error);
  return {
    status: isAbsent ? 404 : status,
    body: { code, message, requestId, ...(details !== undefined && { details }) },
  };
};
