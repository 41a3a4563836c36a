/** What Ctrl-C does to a command that changes things: it gets a moment to tidy up, and says what is left. */
import { progress } from './output.ts';

const tidyMsMax = 2_000;
const interruptedExitCode = 130;

/**
 * Runs `work`. At an interrupt its signal aborts; it may take a moment to remove what is half made. Then, or at a second
 * interrupt at once, the program says `afterwards` and ends.
 */
export async function interruptible<T>(
  work: (signal: AbortSignal) => Promise<T>,
  afterwards: string,
): Promise<T> {
  const stop = new AbortController();
  const end = (): void => {
    progress(afterwards);
    process.exit(interruptedExitCode);
  };
  const interrupt = (): void => {
    if (stop.signal.aborted) end();
    progress('\nInterrupted: tidying up …');
    stop.abort(new Error('interrupted'));
    setTimeout(end, tidyMsMax).unref();
  };
  for (const name of ['SIGINT', 'SIGTERM'] as const) process.on(name, interrupt);
  try {
    return await work(stop.signal);
  } catch (error) {
    if (stop.signal.aborted) end();
    throw error;
  } finally {
    for (const name of ['SIGINT', 'SIGTERM'] as const) process.off(name, interrupt);
  }
}
