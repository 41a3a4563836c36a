import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { run } from './run.ts';

const sources = join(import.meta.dirname, '../programs');

/**
 * Assembles `images/programs/<name>.s` into a static program at `target`, by GNU `as` and `ld`: an image can so carry a native program
 * of its own, although no compiler is on the machine that builds it.
 */
export async function assembleProgram(name: string, target: string): Promise<void> {
  const dir = await mkdtemp(join(tmpdir(), 'pando-assemble-'));
  try {
    const object = join(dir, `${name}.o`);
    await run('as', ['--64', '-I', sources, '-o', object, join(sources, `${name}.s`)]);
    await run('ld', ['-static', '-nostdlib', '-z', 'noseparate-code', '--strip-all', '-o', target, object]);
  } finally {
    await rm(dir, { recursive: true, force: true });
  }
}
