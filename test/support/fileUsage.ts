/** Loaded into the process of each test file: writes down the processor time of the file and of what it started, for the runner. */
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { usageFile } from '../../tools/test-runner/usage.ts';

const directory = process.env.PANDO_TEST_SHARED;
const file = process.argv[1] ?? '';
/** Where fields begin in /proc/PID/stat, behind the name: user and system time of the process and of the children that it waited for. */
const firstTime = 11;
const times = 4;

// A process that the file forks has the same arguments, but another module.
if (directory !== undefined && file.endsWith('.test.ts'))
  process.on('exit', () => {
    const stat = readFileSync('/proc/self/stat', 'utf8');
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
    const ticks = fields.slice(firstTime, firstTime + times).reduce((sum, each) => sum + Number(each), 0);
    writeFileSync(join(directory, usageFile(file)), String(ticks));
  });
