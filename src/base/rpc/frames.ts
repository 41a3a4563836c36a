/** Length-prefixed JSON frames: 4 bytes big-endian length, then UTF-8 JSON. */
import type { Socket } from 'node:net';
import { frameBytesMax } from './limits.ts';

/** One message on the stream. `c` call, `r` result, `e` error, `x` cancel, `p` keep-alive. */
export type Frame =
  | { t: 'c'; id: number; m: string; p: unknown; ms: number; rid: string }
  | { t: 'r'; id: number; v: unknown }
  | { t: 'e'; id: number; code: string; message: string; details?: Record<string, string> }
  | { t: 'x'; id: number }
  | { t: 'p' };

export const writeFrame = (socket: Socket, frame: Frame): void => {
  const body = Buffer.from(JSON.stringify(frame));
  if (body.length > frameBytesMax)
    throw new RangeError(`frame of ${body.length} bytes exceeds ${frameBytesMax}`);
  const head = Buffer.allocUnsafe(4);
  head.writeUInt32BE(body.length);
  socket.cork();
  socket.write(head);
  socket.write(body);
  socket.uncork();
};

/** Cuts a byte stream into frames; throws on a frame that is too long or is not JSON (the stream is then closed). */
export class FrameReader {
  #chunks: Buffer[] = [];
  #bytes = 0;

  *push(chunk: Buffer): Generator<Frame> {
    this.#chunks.push(chunk);
    this.#bytes += chunk.length;
    while (this.#bytes >= 4) {
      const length = this.#peek(4).readUInt32BE();
      if (length > frameBytesMax) throw new RangeError(`frame of ${length} bytes exceeds ${frameBytesMax}`);
      if (this.#bytes < 4 + length) return;
      const whole = this.#peek(4 + length);
      const rest = whole.subarray(4 + length);
      this.#chunks = rest.length > 0 ? [rest] : [];
      this.#bytes = rest.length;
      yield JSON.parse(whole.toString('utf8', 4, 4 + length)) as Frame;
    }
  }

  /** The buffered bytes as one buffer; joined only when the wanted length spans chunks. */
  #peek(length: number): Buffer {
    const first = this.#chunks[0];
    if (
      first !== undefined &&
      (this.#chunks.length === 1 || first.length >= length) &&
      this.#chunks.length === 1
    )
      return first;
    const joined = Buffer.concat(this.#chunks, this.#bytes);
    this.#chunks = [joined];
    return joined;
  }
}
