/**
 * Standard output, where the lines of a moment go in one write: a busy process writes hundreds of them a second, one for each call. What
 * warns goes out at once, with all that was before it, and so does everything when the process ends; a kill loses that moment's lines.
 */
import { type DestinationStream, pino } from 'pino';

const momentMs = 20;
const momentBytesMax = 16_000;
const warn = 40;

/** Pino tells a stream that has this the level of the line that it writes next. */
const wantsLevel = Symbol.for('pino.metadata');

export interface LineSink {
  write(line: string): unknown;
  flushSync(): void;
}

/** Lines that are given away together; `sink` keeps them until it is flushed. */
export const inMoments = (sink: LineSink): DestinationStream & { lastLevel: number } => {
  let timer: NodeJS.Timeout | undefined;
  const flush = (): void => {
    clearTimeout(timer);
    timer = undefined;
    sink.flushSync();
  };
  const stream = {
    [wantsLevel]: true,
    lastLevel: 0,
    write: (line: string): void => {
      sink.write(line);
      if (stream.lastLevel >= warn) flush();
      else timer ??= setTimeout(flush, momentMs).unref();
    },
  };
  return stream;
};

export const standardOutput = (): DestinationStream => {
  const sink = pino.destination({ dest: 1, sync: true, minLength: momentBytesMax });
  process.on('exit', () => sink.flushSync());
  return inMoments(sink);
};
