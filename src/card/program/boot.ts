/**
 * How a card's process begins: `boot.ts --config FILE`. It becomes the version of the card's program that is to run. This part is always the
 * machine's own, so that a version which ends at once, hangs, or does not hear its agent is left for the one before it, whatever is in it.
 */
import { spawnSync } from 'node:child_process';
import { mkdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { loadConfig } from '#base/config.ts';
import { createLogger } from '#base/log.ts';
import { monotonicMs } from '#base/monotonic.ts';
import { cardConfig } from '../config.ts';
import { joinStarterMounts } from '../kernel/mounts.ts';
import { machineVariable, programVariable } from './programs.ts';
import { atStart, readRecord, recordPath, writeRecord } from './record.ts';
import { treeOf, versionOfThisTree } from './trees.ts';
import { startTimeOf } from './watch.ts';

// It may start this process again, which must not look like a program that has ended.
joinStarterMounts();
const { stateDir, programsDir, name } = loadConfig(cardConfig);
const path = recordPath(stateDir);

/** Ends this process unless its trial is settled in time. It outlives this process's next program, and is nobody's child. */
const watch = (): void => {
  const watcher = join(import.meta.dirname, 'watch.ts');
  const startTime = startTimeOf(process.pid) ?? '';
  const args = [...process.execArgv, watcher, path, String(process.pid), startTime];
  spawnSync('setsid', ['--fork', process.execPath, ...args], { stdio: 'ignore' });
};

const become = (version: string): void => {
  const main = join(treeOf(version, programsDir), 'src/card/main.ts');
  // One that is no file would leave no process at all.
  readFileSync(main);
  if (process.execve === undefined) throw new Error('this Node.js cannot become another program');
  const args = [process.execPath, ...process.execArgv, main, ...process.argv.slice(2)];
  const own = { [programVariable]: version, [machineVariable]: versionOfThisTree() };
  process.execve(process.execPath, args, { ...process.env, ...own });
};

if (!process.argv.includes('--teardown')) {
  const before = readRecord(path);
  const { record, version, isTrial } = atStart(before, monotonicMs());
  if (record !== before) {
    mkdirSync(stateDir, { recursive: true });
    writeRecord(path, record);
  }
  if (isTrial) watch();
  if (version !== undefined)
    try {
      become(version);
    } catch (err) {
      createLogger(`card-${name}`).error(
        { err, version },
        'this version cannot run: the machine’s own program does',
      );
    }
}
for (const variable of [programVariable, machineVariable]) delete process.env[variable];
await import('../main.ts');
