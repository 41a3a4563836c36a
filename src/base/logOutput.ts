/**
 * Standard output, where the lines of a moment go in one write: a busy process writes hundreds of them a second, one for each call. What
 * warns goes out at once, with all that was before it, and so does everything when the process ends; a kill loses that moment's lines.
 */
import { type DestinationStream, pino } from 'pino';

const momentMs = 20;
const momentCharsMax = 64_000;
const warn = 40;

/** Pino tells a stream that has this the level of the line that it writes next. */
const wantsLevel = Symbol.for('pino.metadata');

export interface Moments extends DestinationStream {
  lastLevel: number;
  /** Writes what is kept. */
  flush(): void;
}

/** Gives the lines of a moment to `sink` as one text. */
export const inMoments = (sink: { write(text: string): unknown }): Moments => {
  let kept = '';
  let timer: NodeJS.Timeout | undefined;
  const stream = {
    [wantsLevel]: true,
    lastLevel: 0,
    flush: (): void => {
      clearTimeout(timer);
      timer = undefined;
      const text = kept;
      kept = '';
      if (text !== '') sink.write(text);
    },
    write: (line: string): void => {
      kept += line;
      if (stream.lastLevel >= warn || kept.length >= momentCharsMax) stream.flush();
      else timer ??= setTimeout(stream.flush, momentMs).unref();
    },
  };
  return stream;
};

export const standardOutput = (): DestinationStream => {
  const output = inMoments(pino.destination({ dest: 1, sync: true }));
  process.on('exit', output.flush);
  return output;
};
