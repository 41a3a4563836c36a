/**
 * Loaded into the process of each test file: ends it when something (a process, a socket) still keeps it alive long after its tests
 * should have been over, and says what. Without this one file's leftover stops the whole run.
 */
import { basename } from 'node:path';

const file = basename(process.argv[1] ?? '');
const limitMs = (file.endsWith('.soak.test.ts') ? 45 : 15) * 60_000;

setTimeout(() => {
  const alive = process.getActiveResourcesInfo().join(', ');
  console.error(`✖ ${file} still lives after ${limitMs / 60_000} min: ${alive}`);
  process.exit(1);
}, limitMs).unref();
