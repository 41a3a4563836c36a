/**
 * Files of procfs and of control groups. The kernel answers from memory, so they are read and written at once: by the thread pool each
 * costs ten times what the kernel takes.
 */
import { readFileSync, writeFileSync } from 'node:fs';

/** undefined: it is not there, or what it tells of has ended. */
export const readKernelFile = (path: string): string | undefined => {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return undefined;
  }
};

/** Throws where the kernel refuses. */
export const writeKernelFile = (path: string, value: string): void => writeFileSync(path, value);
