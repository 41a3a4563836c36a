/** Settings of the whole machine that runs need: raised by the first, put back when the last has ended. */
import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { dirname } from 'node:path';
import { runtimeDirectory } from './directory.ts';

/** Bytes that the packet queue's socket may hold; a child namespace cannot raise it, so it is set on the machine. */
export const receiveBufferBytesMin = 16 * 1024 * 1024;

const setting = '/proc/sys/net/core/rmem_max';
/** What the machine had before: below /run, so that a reboot forgets both together. */
const formerFile = `${runtimeDirectory}/rmem_max.former`;

type Log = (line: string) => void;

export function raiseReceiveBuffers(log: Log): void {
  const former = readFileSync(setting, 'utf8').trim();
  if (Number(former) >= receiveBufferBytesMin) return;
  mkdirSync(dirname(formerFile), { recursive: true, mode: 0o755 });
  // Written first: a crash between the two puts back what is there still.
  writeFileSync(formerFile, former);
  writeFileSync(setting, String(receiveBufferBytesMin));
  log(`net.core.rmem_max: ${former} → ${receiveBufferBytesMin}, until the last region has ended`);
}

/** Call when no run is left. A value that somebody else has set meanwhile stays. */
export function restoreReceiveBuffers(): void {
  if (!existsSync(formerFile)) return;
  if (Number(readFileSync(setting, 'utf8')) === receiveBufferBytesMin)
    writeFileSync(setting, readFileSync(formerFile, 'utf8'));
  rmSync(formerFile, { force: true });
}
