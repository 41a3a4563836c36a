import { parseArgs } from 'node:util';
import { buildDefaultImage } from './micro.ts';

export { buildDefaultImage };

if (import.meta.main) {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: { out: { type: 'string' }, cache: { type: 'string' } },
  });
  const outDir = values.out;
  if (positionals[0] !== 'default' || outDir === undefined) {
    console.error('usage: node images/build.ts default|debian --out DIR [--cache DIR]');
    process.exit(2);
  }
  const built = await buildDefaultImage({
    outDir,
    cacheDir: values.cache ?? `${outDir}/cache`,
    log: console.log,
  });
  console.log(`${built.built ? 'built' : 'unchanged'} ${built.dir} ${built.manifest.digest}`);
}
