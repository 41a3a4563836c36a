/** A copy of the application with a fault put into it: shows that a test would find the fault. */
import { cp, mkdtemp, readFile, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { start } from '#payments/start.ts';
import { atEnd } from './database.ts';

const app = join(import.meta.dirname, '../../../../apps/payments');

export interface Change {
  /** Below `src/`. */
  readonly file: string;
  /** Occurs once. */
  readonly from: string;
  readonly to: string;
}

/** The start of a changed copy. */
export async function mutant(changes: readonly Change[]): Promise<typeof start> {
  const copy = await mkdtemp(join(tmpdir(), 'pay-mutant-'));
  atEnd(() => rm(copy, { recursive: true, force: true }));
  await cp(join(app, 'src'), join(copy, 'src'), { recursive: true });
  await cp(join(app, 'package.json'), join(copy, 'package.json'));
  await symlink(join(app, 'node_modules'), join(copy, 'node_modules'));
  for (const { file, from, to } of changes) {
    const path = join(copy, 'src', file);
    const text = await readFile(path, 'utf8');
    if (text.split(from).length !== 2) throw new Error(`${file} does not hold this once: ${from}`);
    await writeFile(
      path,
      text.replace(from, () => to),
    );
  }
  const changed = (await import(join(copy, 'src/start.ts'))) as { start: typeof start };
  return changed.start;
}
