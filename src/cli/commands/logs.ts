import { existsSync, readdirSync, readFileSync, statSync } from 'node:fs';
import { open } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { StringDecoder } from 'node:string_decoder';
import { postgresPrefix, type RunDirectory } from '#node/directory.ts';
import { print, progress, UserError } from '../output.ts';
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
    // PostgreSQL writes `2026-01-31 12:00:00.000 UTC`, the supervisor the same in ISO.
    const [, day, time] = /^(\d{4}-\d\d-\d\d)[T ]([\d:.]+)(?:Z| UTC)/.exec(line) ?? [];
    return {
      time: day === undefined ? '' : `${day}T${time}Z`,
      text: `${process} ${line}`,
    };
  }
}

interface LogsOptions {
  readonly dir: string;
  readonly follow: boolean;
  readonly request?: string;
  readonly lines: number;
}

/** A process's log: that of a PostgreSQL lies beside its data. */
interface LogFile {
  readonly process: string;
  readonly path: string;
}

function logFiles(directory: RunDirectory): LogFile[] {
  const of = (where: string, prefix: string): LogFile[] =>
    (existsSync(where) ? readdirSync(where) : [])
      .filter((file) => file.endsWith('.log'))
      .sort()
      .map((file) => ({ process: prefix + basename(file, '.log'), path: join(where, file) }));
  return [...of(directory.log, ''), ...of(directory.postgresRoot, postgresPrefix)];
}

/** `pando logs [PROCESS]`: of one process or of all, merged by time. */
export async function logs(name: string | undefined, options: LogsOptions): Promise<void> {
  const { directory } = openRun(options);
  const all = logFiles(directory);
  const wanted = name === undefined ? all : all.filter((file) => file.process === name);
  if (wanted.length === 0)
    throw new UserError(
      all.length === 0
        ? 'Nothing has been logged yet.'
        : `There is no log of ${name}. There are: ${all.map((file) => file.process).join(' ')}`,
    );
  const matches = (line: string): boolean =>
    line !== '' && (options.request === undefined || line.includes(options.request));
  // Where to go on from is noted before the first look: a line that comes between the two is shown twice rather than never.
  const positions = wanted.map(({ path }) => sizeOf(path) ?? 0);
  const entries = wanted.flatMap(({ process, path }) =>
    [`${path}.1`, path]
      .filter((part) => existsSync(part))
      .flatMap((part) => readFileSync(part, 'utf8').split('\n').filter(matches))
      .map((line) => formatLine(process, line)),
  );
  entries.sort((a, b) => (a.time < b.time ? -1 : a.time > b.time ? 1 : 0));
  for (const entry of options.request === undefined ? lastOf(entries, options.lines) : entries)
    print(entry.text);
  if (options.follow) await Promise.all(wanted.map((file, at) => follow(file, positions[at] ?? 0, matches)));
  else if (entries.length === 0)
    progress(
      options.request === undefined
        ? 'It has said nothing yet.'
        : `No line names ${options.request}. Logs reach back to the last 16 MiB or so of each process.`,
    );
}

const lastOf = (entries: readonly Entry[], lines: number): readonly Entry[] =>
  lines === 0 ? [] : entries.slice(-lines);

const sizeOf = (path: string): number | undefined => statSync(path, { throwIfNoEntry: false })?.size;

/**
 * Prints what is appended from `position` on; a file that got shorter was cut and is read from its start. Returns when the
 * file is gone: the region has ended.
 */
async function follow(
  { process, path }: LogFile,
  position: number,
  matches: (line: string) => boolean,
): Promise<void> {
  let at = position;
  let rest = '';
  const decoder = new StringDecoder('utf8');
  for (;;) {
    const size = sizeOf(path);
    if (size === undefined) return;
    if (size < at) at = 0;
    if (size > at) {
      const chunk = await readAt(path, at);
      at += chunk.length;
      const lines = (rest + decoder.write(chunk)).split('\n');
      rest = lines.pop() ?? '';
      for (const line of lines.filter(matches)) print(formatLine(process, line).text);
    } else await new Promise((resolve) => setTimeout(resolve, pollMs));
  }
}

async function readAt(path: string, position: number): Promise<Buffer> {
  const file = await open(path);
  try {
    const { bytesRead, buffer } = await file.read(Buffer.alloc(chunkBytes), 0, chunkBytes, position);
    return buffer.subarray(0, bytesRead);
  } finally {
    await file.close();
  }
}
