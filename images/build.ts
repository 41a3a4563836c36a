import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { buildDebianImage } from './debian.ts';
import { buildDefaultImage } from './micro.ts';
import { buildPaymentsImage } from './payments.ts';

export type { BuildOptions, BuiltImage } from './lib/publish.ts';
export { buildDebianImage, buildDefaultImage, buildPaymentsImage };

const builders = new Map([
  ['default', buildDefaultImage],
  ['debian', buildDebianImage],
  ['payments', buildPaymentsImage],
]);

async function main(): Promise<number> {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: { out: { type: 'string' }, cache: { type: 'string' } },
  });
  const build = builders.get(positionals[0] ?? '');
  if (build === undefined || values.out === undefined) {
    console.error(`usage: node images/build.ts ${[...builders.keys()].join('|')} --out DIR [--cache DIR]`);
    return 2;
  }
  const stop = new AbortController();
  for (const name of ['SIGINT', 'SIGTERM'] as const) process.once(name, () => stop.abort());
  const cacheDir = values.cache ?? join(values.out, '.cache');
  const built = await build({ outDir: values.out, cacheDir, log: console.log, signal: stop.signal });
  console.log(`${built.built ? 'built' : 'unchanged'} ${built.dir} ${built.manifest.digest}`);
  return 0;
}

if (import.meta.main) process.exitCode = await main();
