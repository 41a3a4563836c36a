import { setTimeout as sleep } from 'node:timers/promises';
import { type CallPatience, Ec2Error } from '../ec2Client.ts';
import { instanceOf } from '../operator.ts';
import { progress, UserError } from '../output.ts';
import { openRegion, type Region } from '../region.ts';
import { textAt } from '../xmlTree.ts';

const pollMs = 1_000;
/** Between tries while it cannot be reached: doubled up to this. */
const pollMsMax = 10_000;
/** Of one who follows: each try is soon over, the next one comes. */
const following: CallPatience = { timeoutMs: 10_000, unavailableMs: 0 };
const firstServerError = 500;

const read = async ({ ec2 }: Region, instanceId: string, patience?: CallPatience): Promise<string> => {
  const answer = await ec2.call('GetConsoleOutput', { InstanceId: instanceId, Latest: 'true' }, patience);
  return Buffer.from(textAt(answer, 'output'), 'base64').toString();
};

/** What is new in `now`, the last part of an output of which `before` was the last part earlier. */
export function newPart(before: string, now: string): string {
  if (now.startsWith(before)) return now.slice(before.length);
  const overlapMax = Math.min(before.length, now.length);
  for (let length = overlapMax; length > 0; length--) {
    if (before.endsWith(now.slice(0, length))) return now.slice(length);
  }
  return now;
}

/** Whether another try may find it again: the region, a cell or a host is away, or too much is asked just now. */
const passes = (error: unknown): boolean =>
  error instanceof UserError ||
  (error instanceof Ec2Error &&
    (error.status >= firstServerError ||
      error.code === 'RequestLimitExceeded' ||
      error.code === 'Throttling'));

export interface Follow {
  /** The console's last 64 KiB as they are now. */
  read(): Promise<string>;
  write(text: string): void;
  tell(line: string): void;
  sleep(ms: number): Promise<unknown>;
  /** Ends it; without one it goes on until it is interrupted. */
  readonly signal?: AbortSignal;
}

/** Writes what is new from `shown` on, through restarts of whatever lies between. @throws what another try would not mend */
export async function followConsole(shown: string, follow: Follow): Promise<void> {
  let last = shown;
  let pauseMs = pollMs;
  while (!follow.signal?.aborted) {
    await follow.sleep(pauseMs);
    try {
      const now = await follow.read();
      if (pauseMs > pollMs) follow.tell('The console is back.');
      pauseMs = pollMs;
      follow.write(newPart(last, now));
      last = now;
    } catch (error) {
      if (!passes(error)) throw error;
      if (pauseMs === pollMs) follow.tell('The console cannot be reached just now: trying again …');
      pauseMs = Math.min(2 * pauseMs, pollMsMax);
    }
  }
}

/** `pando console INSTANCE`: the serial console's output so far; with `--follow` until interrupted, through restarts and migrations. */
export async function showConsole(
  instanceId: string,
  options: { dir: string; follow: boolean },
): Promise<void> {
  const region = openRegion(options);
  const { id } = instanceOf(region.run, instanceId);
  const shown = await read(region, id);
  process.stdout.write(shown);
  if (shown === '') progress(`${id} has said nothing on its console yet.`);
  if (options.follow)
    await followConsole(shown, {
      // Opened anew each time: a region that came back may be reached another way.
      read: async () => read(openRegion(options), id, following),
      write: (text) => void process.stdout.write(text),
      tell: progress,
      sleep,
    });
  if (shown !== '' && !shown.endsWith('\n')) process.stdout.write('\n');
}
