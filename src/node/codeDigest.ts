/** Which code a supervisor runs: one of another release is replaced, because it would not understand its list. */
import { createHash } from 'node:crypto';
import { globSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { codeDirectory } from './directory.ts';

/** Changes with the contents of what a supervisor is made of. */
export const supervisorDigest = (): string => {
  const hash = createHash('sha256');
  const files = globSync('src/{node,base,contracts}/**/*.ts', { cwd: codeDirectory }).sort();
  for (const file of files) hash.update(`${file}\0`).update(readFileSync(join(codeDirectory, file)));
  return hash.digest('hex').slice(0, 16);
};
