import { existsSync, readdirSync, readFileSync, statSync } from 'node:fs';
import { open } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { print, UserError } from '../output.ts';
import { openRun } from '../region.ts';

const pollMs = 300;
const chunkBytes = 64 * 1024;
const levels: Readonly<Record<number, string>> = {
  10: 'trace',
  20: 'debug',
  30: 'info',
  40: 'warn',
  50: 'error',
  60: 'fatal',
};

interface Entry {
  readonly time: string;
  readonly text: string;
}

/** One line of a process's log as people read it; structured lines are unfolded, others shown as they are. */
export function formatLine(process: string, line: string): Entry {
  try {
    const {
      level,
      time,
      msg,
      name: _name,
      base: _base,
      ...rest
    } = JSON.parse(line) as Record<string, unknown>;
    const details = Object.entries(rest).map(
      ([key, value]) => `${key}=${typeof value === 'string' ? value : JSON.stringify(value)}`,
    );
    const text = [
      String(time ?? ''),
      process,
      levels[Number(level)] ?? '',
      String(msg ?? ''),
      ...details,
    ].filter((part) => part !== '');
    return { time: String(time ?? ''), text: text.join(' ') };
  } catch {
    return { time: /^\d{4}-\d\d-\d\dT[\d:.]+Z/.exec(line)?.[0] ?? '', text: `${process} ${line}` };
  }
}

interface LogsOptions {
  readonly dir: string;
  readonly follow: boolean;
  readonly request?: string;
  readonly lines: number;
}

/** `pando logs [PROCESS]`: of one process or of all, merged by time. */
export async function logs(name: string | undefined, options: LogsOptions): Promise<void> {
  const { directory } = openRun(options);
  const all = existsSync(directory.log)
    ? readdirSync(directory.log)
        .filter((file) => file.endsWith('.log'))
        .sort()
    : [];
  const wanted = name === undefined ? all : all.filter((file) => file === `${name}.log`);
  if (wanted.length === 0)
    throw new UserError(
      `There is no log of ${name ?? 'any process'}. There are: ${all.map((file) => basename(file, '.log')).join(' ')}`,
    );
  const matches = (line: string): boolean =>
    line !== '' && (options.request === undefined || line.includes(options.request));
  const entries = wanted.flatMap((file) =>
    [`${file}.1`, file]
      .map((part) => join(directory.log, part))
      .filter((path) => existsSync(path))
      .flatMap((path) => readFileSync(path, 'utf8').split('\n').filter(matches))
      .map((line) => formatLine(basename(file, '.log'), line)),
  );
  entries.sort((a, b) => (a.time < b.time ? -1 : a.time > b.time ? 1 : 0));
  for (const entry of options.request === undefined ? entries.slice(-options.lines) : entries)
    print(entry.text);
  if (options.follow)
    await Promise.all(
      wanted.map((file) => follow(join(directory.log, file), basename(file, '.log'), matches)),
    );
}

/** Prints what is appended from now on; a file that got shorter was cut and is read from its start. */
async function follow(path: string, process: string, matches: (line: string) => boolean): Promise<void> {
  let position = statSync(path).size;
  let rest = '';
  for (;;) {
    await new Promise((resolve) => setTimeout(resolve, pollMs));
    if (statSync(path).size < position) position = 0;
    const file = await open(path);
    try {
      const { bytesRead, buffer } = await file.read(Buffer.alloc(chunkBytes), 0, chunkBytes, position);
      position += bytesRead;
      const lines = (rest + buffer.toString('utf8', 0, bytesRead)).split('\n');
      rest = lines.pop() ?? '';
      for (const line of lines.filter(matches)) print(formatLine(process, line).text);
    } finally {
      await file.close();
    }
  }
}
