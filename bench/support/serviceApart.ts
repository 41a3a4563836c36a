/** Starts the payments service in a process of its own, and asks it what it used. */
import { fork } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { ServiceUse } from './paymentsService.ts';

export interface ServiceApart {
  readonly url: string;
  use(): Promise<ServiceUse>;
  close(): Promise<void>;
}

export async function serviceApart(databaseUrl: string): Promise<ServiceApart> {
  const child = fork(join(import.meta.dirname, 'paymentsService.ts'), [databaseUrl]);
  const ended = once(child, 'exit');
  const answer = async (): Promise<unknown> => {
    const [first] = await Promise.race([
      once(child, 'message'),
      ended.then(([code]) => {
        throw new Error(`the service ended with ${code}`);
      }),
    ]);
    return first;
  };
  const url = `${await answer()}`;
  return {
    url,
    use: () => {
      const used = answer();
      child.send('use');
      return used as Promise<ServiceUse>;
    },
    close: async () => {
      child.disconnect();
      await ended;
    },
  };
}

const ticksPerS = 100;

/** Processor time of a PostgreSQL server and its processes of now, in milliseconds. Those that have ended meanwhile do not count. */
export function postgresCpuMs(pid: number): number {
  const children = readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').trim().split(' ');
  return [`${pid}`, ...children].reduce((sum, each) => sum + cpuMsOf(each), 0);
}

function cpuMsOf(pid: string): number {
  try {
    // The second field is a name in brackets, and may hold blanks.
    const fields = readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ')[1]?.split(' ') ?? [];
    return ((Number(fields[11]) + Number(fields[12])) * 1_000) / ticksPerS;
  } catch {
    return 0;
  }
}
