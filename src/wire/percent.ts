/** Percent-encoded text of a form, in a time that only its length decides. */
import { atOnce } from './slices.ts';

/** The engine's own functions are quicker up to here; beyond, one character in three that is encoded takes them ten times as long. */
const shortCharsMax = 1_024;

const [plus, percent, space] = [0x2b, 0x25, 0x20];
const utf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

/** The text that a name or a value of a form stands for: `+` is a space. @throws URIError where it is not UTF-8 text, or an escape is broken */
export const decodeFormText = (text: string): string => {
  if (text.length <= shortCharsMax) {
    const spaced = text.includes('+') ? text.replaceAll('+', ' ') : text;
    return spaced.includes('%') ? decodeURIComponent(spaced) : spaced;
  }
  if (!text.includes('+') && !text.includes('%')) return text;
  return atOnce(decodeFormBytes(Buffer.from(text), text.length * 3, Number.POSITIVE_INFINITY)) ?? '';
};

/**
 * The same of bytes, yielding after each `sliceBytes` that were read. `undefined`: the text takes more than `bytesMax`, and is not
 * read further. @throws URIError as `decodeFormText`
 */
export function* decodeFormBytes(
  text: Buffer,
  sliceBytes: number,
  bytesMax: number,
): Generator<undefined, string | undefined> {
  const bytes = Buffer.allocUnsafe(Math.min(text.length, bytesMax + 1));
  const done = { read: 0, written: 0 };
  for (;;) {
    decodeRun(text, bytes, done, done.read + sliceBytes);
    if (done.read >= text.length) break;
    if (done.written >= bytesMax) return undefined;
    yield;
  }
  if (done.written > bytesMax) return undefined;
  try {
    return utf8.decode(bytes.subarray(0, done.written));
  } catch (cause) {
    throw new URIError('not UTF-8 text', { cause });
  }
}

/** A loop of its own, without a `yield` in it: the engine compiles those of generators late or not at all. Ends also where `into` is full. */
const decodeRun = (
  text: Uint8Array,
  into: Uint8Array,
  done: { read: number; written: number },
  until: number,
): void => {
  const end = Math.min(until, text.length);
  let { read, written } = done;
  while (read < end && written < into.length) {
    const byte = text[read] ?? 0;
    if (byte === percent) {
      into[written] = (digit(text[read + 1]) << 4) | digit(text[read + 2]);
      read += 3;
    } else {
      into[written] = byte === plus ? space : byte;
      read += 1;
    }
    written += 1;
  }
  done.read = read;
  done.written = written;
};

const digit = (byte = 0): number => {
  if (byte >= 0x30 && byte <= 0x39) return byte - 0x30;
  const letter = byte | 0x20;
  if (letter >= 0x61 && letter <= 0x66) return letter - 0x61 + 10;
  throw new URIError('a broken escape');
};
