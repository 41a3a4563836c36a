/** Settings of the whole machine that runs need: raised by the first, put back when the last has ended. */
import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { basename } from 'node:path';
import { runtimeDirectory } from './directory.ts';

/** Bytes that the packet queue's socket may hold; a child namespace cannot raise it, so it is set on the machine. */
export const receiveBufferBytesMin = 16 * 1024 * 1024;

interface Setting {
  /** Below /proc/sys. */
  readonly path: string;
  /** Raised to this where it is less. */
  readonly value: number;
}

const settings: readonly Setting[] = [
  { path: 'net/core/rmem_max', value: receiveBufferBytesMin },
  // Connections that wait to be accepted go to the next router when the former leaves, and are not reset (Linux 5.14 and newer).
  { path: 'net/ipv4/tcp_migrate_req', value: 1 },
];

const fileOf = ({ path }: Setting): string => `/proc/sys/${path}`;
/** What the machine had before: below /run, so that a reboot forgets both together. */
const formerFileOf = ({ path }: Setting): string => `${runtimeDirectory}/${basename(path)}.former`;

type Log = (line: string) => void;

export function raiseMachineSettings(log: Log): void {
  for (const setting of settings) {
    const file = fileOf(setting);
    if (!existsSync(file)) continue;
    const former = readFileSync(file, 'utf8').trim();
    if (Number(former) >= setting.value) continue;
    mkdirSync(runtimeDirectory, { recursive: true, mode: 0o755 });
    // The former value is on disk before the new one is set: a crash in between loses nothing.
    writeFileSync(formerFileOf(setting), former);
    writeFileSync(file, String(setting.value));
    const name = setting.path.replaceAll('/', '.');
    log(`${name}: ${former} → ${setting.value}, until the last region has ended`);
  }
}

/** Call when no run is left. A value that somebody else has set meanwhile stays. */
export function restoreMachineSettings(): void {
  for (const setting of settings) {
    const former = formerFileOf(setting);
    if (!existsSync(former)) continue;
    if (Number(readFileSync(fileOf(setting), 'utf8')) === setting.value)
      writeFileSync(fileOf(setting), readFileSync(former, 'utf8'));
    rmSync(former, { force: true });
  }
}
