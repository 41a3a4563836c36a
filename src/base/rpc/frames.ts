/** Length-prefixed JSON frames: 4 bytes big-endian length, then UTF-8 JSON. */
import type { Socket } from 'node:net';
import { PandoError } from '#contracts/errors.ts';
import { toJson, wholeText } from './json.ts';
import { frameBytesMax } from './limits.ts';

/**
 * One message on the stream. `c` call, `r` result, `e` error, `x` cancel, `p` keep-alive. `tp` is the W3C traceparent of what the call is
 * done for; a peer of the last release neither sends nor reads it.
 */
export type Frame =
  | { t: 'c'; id: number; m: string; p: unknown; ms: number; rid: string; tp?: string }
  | { t: 'r'; id: number; v: unknown }
  | { t: 'e'; id: number; code: string; message: string; details?: Record<string, string> }
  | { t: 'x'; id: number }
  | { t: 'p' };

/** A frame as it goes over the wire, in pieces: a long value that many are told is not copied for each. */
export type EncodedFrame = readonly Buffer[];

/**
 * Nothing is written yet, so the caller can be told.
 *
 * @throws MessageTooLarge above `frameBytesMax`
 */
export const encodeFrame = (frame: Frame): EncodedFrame => {
  try {
    const text = wholeText(frame);
    return text === undefined ? inPieces(frame) : inOne(frame, text);
  } catch (cause) {
    // A text longer than the engine's longest is a RangeError of its own.
    if (cause instanceof RangeError) throw tooLarge(frame, 'more than the longest text', cause);
    throw cause;
  }
};

const headBytes = 4;
/** Up to this size copying the pieces of a frame costs less than writing them one by one. */
const joinedBytesMax = 64 * 1024;

const checkSize = (frame: Frame, bytes: number): void => {
  if (bytes > frameBytesMax) throw tooLarge(frame, `${bytes} bytes`);
};

const inPieces = (frame: Frame): EncodedFrame => {
  const body = toJson(frame);
  checkSize(frame, body.bytes);
  const head = Buffer.allocUnsafe(headBytes);
  head.writeUInt32BE(body.bytes);
  const pieces = [head, ...body.pieces];
  return body.bytes > joinedBytesMax ? pieces : [Buffer.concat(pieces, headBytes + body.bytes)];
};

/** Most frames: one buffer, so one write. */
const inOne = (frame: Frame, text: string): EncodedFrame => {
  const bytes = Buffer.byteLength(text);
  checkSize(frame, bytes);
  const whole = Buffer.allocUnsafe(headBytes + bytes);
  whole.writeUInt32BE(bytes);
  whole.write(text, headBytes);
  return [whole];
};

const tooLarge = (frame: Frame, size: string, cause?: unknown): PandoError => {
  const what = frame.t === 'c' ? `The parameters of ${frame.m} are` : 'The answer is';
  return new PandoError(
    'MessageTooLarge',
    `${what} too large: ${size}, of ${frameBytesMax} that may be sent.`,
    {
      cause,
    },
  );
};

/** To a socket that is corked: who writes lets it go. */
export const writeFrame = (socket: Socket, frame: EncodedFrame): void => {
  for (const piece of frame) socket.write(piece);
};

/** Cuts a byte stream into frames; throws on a frame that is too long or is not JSON (the stream is then closed). */
export class FrameReader {
  #chunks: Buffer[] = [];
  #bytes = 0;
  /** Bytes to wait for before looking again: chunks of a long frame are joined once, when it is whole. */
  #wanted = 4;

  *push(chunk: Buffer): Generator<Frame> {
    this.#chunks.push(chunk);
    this.#bytes += chunk.length;
    while (this.#bytes >= this.#wanted) {
      const joined = this.#join();
      const length = joined.readUInt32BE();
      if (length > frameBytesMax) throw new RangeError(`frame of ${length} bytes exceeds ${frameBytesMax}`);
      this.#wanted = 4 + length;
      if (this.#bytes < this.#wanted) return;
      const rest = joined.subarray(this.#wanted);
      this.#chunks = rest.length > 0 ? [rest] : [];
      this.#bytes = rest.length;
      this.#wanted = 4;
      yield JSON.parse(joined.toString('utf8', 4, 4 + length)) as Frame;
    }
  }

  #join(): Buffer {
    const [first] = this.#chunks;
    if (first !== undefined && this.#chunks.length === 1) return first;
    const joined = Buffer.concat(this.#chunks, this.#bytes);
    this.#chunks = [joined];
    return joined;
  }
}
