/** The supervisor as a process of its own: `node supervisorMain.ts DIR`. Ending it leaves everything that it started running. */
import { rmSync } from 'node:fs';
import { giveBackLoadingMemory } from '#base/loadingMemory.ts';
import { writeAtomicallySync } from '#base/writeAtomically.ts';
import { supervisorDigest } from './codeDigest.ts';
import { serveControl } from './control.ts';
import { runDirectory } from './directory.ts';
import { identify } from './processIdentity.ts';
import { Supervisor } from './supervisor.ts';

giveBackLoadingMemory();
const root = process.argv[2];
if (root === undefined) throw new Error('usage: supervisorMain.ts DIR');
const directory = runDirectory(root);
const log = (line: string): void => console.log(`${new Date().toISOString()} ${line}`);
const supervisor = new Supervisor(directory, log);

const pidFile = directory.pidFile('supervisor');
writeAtomicallySync(pidFile, JSON.stringify({ ...identify(process.pid), code: supervisorDigest() }));

const leave = (): void => {
  rmSync(directory.controlSocket, { force: true });
  rmSync(pidFile, { force: true });
  process.exit(0);
};
for (const name of ['SIGTERM', 'SIGINT'] as const)
  process.once(name, () => {
    supervisor.release();
    leave();
  });

await supervisor.load();
await serveControl(directory.controlSocket, async (request) => {
  switch (request.op) {
    case 'status':
      break;
    case 'load':
      await supervisor.load();
      break;
    case 'restart':
      await supervisor.restart(request.name);
      break;
    case 'stop':
      await supervisor.stop();
      setImmediate(() => setTimeout(leave, 50));
  }
  return supervisor.status;
});
log(`supervisor ${process.pid} looks after ${supervisor.status.length} processes`);
