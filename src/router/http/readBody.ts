/** Reads a request's body, no more than is allowed. Slow clients are cut off by the server's own timeouts. */
import type { IncomingMessage } from 'node:http';
import { PandoError } from '#contracts/errors.ts';
import type { Admission } from './admission.ts';

/**
 * @param reserved frees what the body takes of the limit on all bodies together.
 * @throws `RequestEntityTooLarge`; `RequestLimitExceeded` if all bodies together are too long; `InvalidRequest` if the
 * client goes away before the end.
 */
export const readBody = (
  request: IncomingMessage,
  bytesMax: number,
  admission: Admission,
  reserved: DisposableStack,
): Promise<Buffer> => {
  const tooLarge = () =>
    new PandoError('RequestEntityTooLarge', `The request is larger than ${bytesMax} bytes.`);
  if (Number(request.headers['content-length'] ?? 0) > bytesMax) return Promise.reject(tooLarge());
  return new Promise((resolve, reject) => {
    const chunks: Buffer[] = [];
    let bytes = 0;
    // Nothing may be reserved for a request that is over: `reserved` is disposed of by then.
    const end = (error: unknown): void => {
      request.off('data', take);
      reject(error);
    };
    const take = (chunk: Buffer): void => {
      try {
        bytes += chunk.length;
        if (bytes > bytesMax) throw tooLarge();
        admission.reserve(chunk.length);
        reserved.defer(() => admission.release(chunk.length));
        chunks.push(chunk);
      } catch (error) {
        request.pause();
        end(error);
      }
    };
    const brokeOff = (cause?: unknown) =>
      new PandoError('InvalidRequest', 'The request broke off.', { cause });
    request.on('data', take);
    request.once('end', () => resolve(chunks.length === 1 && chunks[0] ? chunks[0] : Buffer.concat(chunks)));
    request.once('error', (cause) => end(brokeOff(cause)));
    request.once('close', () => end(brokeOff()));
  });
};
