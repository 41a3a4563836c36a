import { instanceOf } from '../operator.ts';
import { progress } from '../output.ts';
import { openRegion, type Region } from '../region.ts';
import { textAt } from '../xmlTree.ts';

const pollMs = 1_000;

const read = async ({ ec2 }: Region, instanceId: string): Promise<string> => {
  const answer = await ec2.call('GetConsoleOutput', { InstanceId: instanceId, Latest: 'true' });
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

/** `pando console INSTANCE`: the serial console's output so far; with `--follow` until interrupted. */
export async function showConsole(
  instanceId: string,
  options: { dir: string; follow: boolean },
): Promise<void> {
  const region = openRegion(options);
  const { id } = instanceOf(region.run, instanceId);
  let shown = await read(region, id);
  process.stdout.write(shown);
  if (shown === '') progress(`${id} has said nothing on its console yet.`);
  while (options.follow) {
    await new Promise((resolve) => setTimeout(resolve, pollMs));
    const now = await read(region, id);
    process.stdout.write(newPart(shown, now));
    shown = now;
  }
  if (shown !== '' && !shown.endsWith('\n')) process.stdout.write('\n');
}
