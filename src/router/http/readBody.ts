/** Reads a request's body, no more than is allowed. Slow clients are cut off by the server's own timeouts. */
import type { IncomingMessage } from 'node:http';
import { PandoError } from '#contracts/errors.ts';
import type { Admission } from './admission.ts';

/**
 * @param held frees what the body takes of the limit on all bodies together.
 * @throws `RequestEntityTooLarge`; `RequestLimitExceeded` if all bodies together are too long; `InvalidRequest` if the
 * client goes away before the end.
 */
export const readBody = (
  request: IncomingMessage,
  bytesMax: number,
  admission: Admission,
  held: DisposableStack,
): Promise<Buffer> => {
  const tooLarge = () =>
    new PandoError('RequestEntityTooLarge', `The request is larger than ${bytesMax} bytes.`);
  if (Number(request.headers['content-length'] ?? 0) > bytesMax) return Promise.reject(tooLarge());
  return new Promise((resolve, reject) => {
    const chunks: Buffer[] = [];
    let bytes = 0;
    const refuse = (error: unknown): void => {
      request.removeAllListeners('data');
      request.pause();
      reject(error);
    };
    request.on('data', (chunk: Buffer) => {
      bytes += chunk.length;
      if (bytes > bytesMax) return refuse(tooLarge());
      try {
        admission.hold(chunk.length);
      } catch (error) {
        return refuse(error);
      }
      held.defer(() => admission.release(chunk.length));
      chunks.push(chunk);
    });
    const brokeOff = (cause?: unknown) =>
      new PandoError('InvalidRequest', 'The request broke off.', { cause });
    request.once('end', () => resolve(chunks.length === 1 && chunks[0] ? chunks[0] : Buffer.concat(chunks)));
    request.once('error', (cause) => reject(brokeOff(cause)));
    request.once('close', () => reject(brokeOff()));
  });
};
