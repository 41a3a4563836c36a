/** Reads a request's body, no more than is allowed. Slow clients are cut off by the server's own timeouts. */
import { createHash } from 'node:crypto';
import type { IncomingMessage } from 'node:http';
import { PandoError } from '#contracts/errors.ts';
import type { Admission } from './admission.ts';
import { bodySliceBytes, type LargeBodies } from './largeBodies.ts';

/** A body, and the hash that its signature covers. */
export interface Body {
  readonly bytes: Buffer;
  /** In hexadecimal. */
  readonly sha256: string;
}

export interface ReadBodyOptions {
  readonly bodyBytesMax: number;
  readonly admission: Admission;
  readonly large: LargeBodies;
}

/**
 * A large body is read and hashed a slice at a time; what is not read yet waits in the kernel, and so with its client.
 *
 * @param reserved frees what the body takes of the limit on all bodies together, and its memory: nothing of a body is kept beyond.
 * @throws `RequestEntityTooLarge`; `RequestLimitExceeded` if all bodies together are too long; `InvalidRequest` if the
 * client goes away before the end.
 */
export const readBody = async (
  request: IncomingMessage,
  options: ReadBodyOptions,
  reserved: DisposableStack,
): Promise<Body> => {
  const { bodyBytesMax, large } = options;
  const declared = Number(request.headers['content-length'] ?? Number.NaN);
  if (declared > bodyBytesMax) throw tooLarge(bodyBytesMax);
  const isLarge = large.isLarge(request.headers);
  const into = isLarge
    ? large.takeBuffer(Number.isNaN(declared) ? bodyBytesMax : declared, reserved)
    : Buffer.allocUnsafe(Number.isNaN(declared) ? 0 : declared);
  const hash = createHash('sha256');
  const counted = countIn(options.admission, reserved);
  const arrived = arrivals(request);
  let length = 0;
  for (;;) {
    if (isLarge) await large.slice();
    const chunk = nextChunk(request);
    if (chunk === null) {
      if (request.readableEnded) break;
      if (request.destroyed || arrived.error !== undefined) throw brokeOff(arrived.error);
      await arrived.next();
      continue;
    }
    if (length + chunk.length > into.length) throw tooLarge(bodyBytesMax);
    counted(chunk.length);
    hash.update(chunk);
    length += chunk.copy(into, length);
  }
  return { bytes: into.subarray(0, length), sha256: hash.digest('hex') };
};

const nextChunk = (request: IncomingMessage): Buffer | null => {
  const { readableLength } = request;
  return request.read(readableLength === 0 ? undefined : Math.min(readableLength, bodySliceBytes));
};

/** Wakes its reader when there is something to read, or nothing will come any more. */
const arrivals = (request: IncomingMessage) => {
  let wake = Promise.withResolvers<void>();
  const told: { error?: unknown; next(): Promise<void> } = {
    next: async () => {
      await wake.promise;
      wake = Promise.withResolvers<void>();
    },
  };
  const look = (): void => wake.resolve();
  request.on('readable', look);
  request.once('end', look);
  request.once('close', look);
  request.once('error', (error) => {
    told.error = error;
    look();
  });
  return told;
};

/** Bytes of one body, freed together. Counts no more once its request is over. */
const countIn = (admission: Admission, reserved: DisposableStack): ((bytes: number) => void) => {
  let total = 0;
  reserved.defer(() => admission.release(total));
  return (bytes) => {
    admission.reserve(bytes);
    total += bytes;
  };
};

const tooLarge = (bytesMax: number): PandoError =>
  new PandoError('RequestEntityTooLarge', `The request is larger than ${bytesMax} bytes.`);

const brokeOff = (cause: unknown): PandoError =>
  new PandoError('InvalidRequest', 'The request broke off.', { cause });
