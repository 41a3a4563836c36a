/**
 * Compiles the code of rooms of `src/` into Node's compile cache (`NODE_COMPILE_CACHE`) and runs none of it: `compileMain.ts ROOM…`.
 * The packages that the code imports are run, since CommonJS is compiled as it runs.
 */
// Packages that make certificates want it before them.
import 'reflect-metadata';
import { readFileSync, rmSync, writeFileSync } from 'node:fs';
import { flushCompileCache, getCompileCacheDir } from 'node:module';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { z } from 'zod';
import { filesOfRooms } from '#base/codeDigest.ts';
import { codeDirectory } from './directory.ts';

const cache = getCompileCacheDir();
if (cache === undefined) throw new Error('there is no compile cache: NODE_COMPILE_CACHE names its directory');
const files = filesOfRooms(process.argv.slice(2), codeDirectory).map((file) => join(codeDirectory, file));
if (files.length === 0) throw new Error('usage: compileMain.ts ROOM…');

/** What no module exports. Modules are linked once all are compiled, and run once all are linked: this stops them between the two. */
const missing = 'noModuleExportsThis';
const all = join(cache, 'all.mjs');
const imports = files.map((file) => `import ${JSON.stringify(pathToFileURL(file).href)};`);
imports.push(`import { ${missing} } from ${JSON.stringify(import.meta.resolve('#base/monotonic.ts'))};`);
writeFileSync(all, imports.join('\n'));
try {
  await import(pathToFileURL(all).href);
  throw new Error('the code was run');
} catch (error) {
  if (!(error instanceof SyntaxError && error.message.includes(missing))) throw error;
} finally {
  rmSync(all, { force: true });
}

const { dependencies } = z
  .object({ dependencies: z.record(z.string(), z.string()) })
  .parse(JSON.parse(readFileSync(join(codeDirectory, 'package.json'), 'utf8')));
const texts = files.map((file) => readFileSync(file, 'utf8'));
for (const name of Object.keys(dependencies))
  if (texts.some((text) => text.includes(`'${name}'`))) await import(name);
flushCompileCache();
