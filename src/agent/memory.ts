/** The machine's memory and load. */
import { readFile } from 'node:fs/promises';

/** Memory that programs may still take without pressure, in MiB. */
export const memoryAvailableMib = async (): Promise<number> => {
  const text = await readFile('/proc/meminfo', 'utf8');
  return Number(/^MemAvailable:\s+(\d+)/m.exec(text)?.[1] ?? 0) / 1024;
};
