/** Reads a request's body, no more than is allowed. Slow clients are cut off by the server's own timeouts. */
import type { IncomingMessage } from 'node:http';
import { PandoError } from '#contracts/errors.ts';

/** @throws `RequestEntityTooLarge`; `InvalidRequest` if the client goes away before the end. */
export const readBody = (request: IncomingMessage, bytesMax: number): Promise<Buffer> => {
  const tooLarge = () =>
    new PandoError('RequestEntityTooLarge', `The request is larger than ${bytesMax} bytes.`);
  if (Number(request.headers['content-length'] ?? 0) > bytesMax) return Promise.reject(tooLarge());
  return new Promise((resolve, reject) => {
    const chunks: Buffer[] = [];
    let bytes = 0;
    request.on('data', (chunk: Buffer) => {
      bytes += chunk.length;
      if (bytes <= bytesMax) {
        chunks.push(chunk);
        return;
      }
      request.removeAllListeners('data');
      request.pause();
      reject(tooLarge());
    });
    request.once('end', () => resolve(chunks.length === 1 && chunks[0] ? chunks[0] : Buffer.concat(chunks)));
    request.once('error', (cause) =>
      reject(new PandoError('InvalidRequest', 'The request broke off.', { cause })),
    );
    request.once('close', () => reject(new PandoError('InvalidRequest', 'The request broke off.')));
  });
};
