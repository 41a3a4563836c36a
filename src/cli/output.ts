/** How the command line speaks: plain lines that read well on a terminal and in a file. Results on stdout, progress on stderr. */
import { monotonicMs } from '#base/monotonic.ts';

const colours = { ok: 32, note: 33, lacking: 31, dim: 2, bold: 1 } as const;

const coloured = process.stdout.isTTY === true && process.env.NO_COLOR === undefined;

export const paint = (colour: keyof typeof colours, text: string): string =>
  coloured ? `\u001b[${colours[colour]}m${text}\u001b[0m` : text;

export const print = (line = ''): void => {
  process.stdout.write(`${line}\n`);
};

export const progress = (line: string): void => {
  process.stderr.write(`${line}\n`);
};

/** Rows as columns, each as wide as its widest cell. */
export function table(rows: readonly (readonly string[])[]): string {
  const widths: number[] = [];
  for (const row of rows)
    for (const [at, cell] of row.entries()) widths[at] = Math.max(widths[at] ?? 0, cell.length);
  return rows
    .map((row) =>
      row
        .map((cell, at) => (at === row.length - 1 ? cell : cell.padEnd(widths[at] ?? 0)))
        .join('  ')
        .trimEnd(),
    )
    .join('\n');
}

const tickMs = 5_000;
const worthTellingMs = 2_000;

/** How long something took, for people. */
export const seconds = (ms: number): string => `${(ms / 1000).toFixed(1)} s`;

/** While `work` runs, says every few seconds that it still goes on. */
export async function ticking<T>(work: () => Promise<T>, what = (): string => ''): Promise<T> {
  const begun = monotonicMs();
  const timer = setInterval(
    () => progress(`    … ${seconds(monotonicMs() - begun)} ${what()}`.trimEnd()),
    tickMs,
  );
  try {
    return await work();
  } finally {
    clearInterval(timer);
  }
}

/** Runs `work`, says what it is, and that it still goes on when it takes long; then how long it took. */
export async function step<T>(what: string, work: (say: (line: string) => void) => Promise<T>): Promise<T> {
  const begun = monotonicMs();
  progress(`• ${what}`);
  const result = await ticking(() => work((line) => progress(`    ${line}`)));
  const took = monotonicMs() - begun;
  if (took > worthTellingMs) progress(`    done in ${seconds(took)}`);
  return result;
}

/** An error that is the user's to solve: printed without a stack. */
export class UserError extends Error {
  override readonly name = 'UserError';
}
