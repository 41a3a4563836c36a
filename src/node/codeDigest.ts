/** Which code a process runs, so that one of another release is told from one of this. */
import { codeDigestOf } from '#base/codeDigest.ts';
import { codeDirectory } from './directory.ts';

/** Changes with the contents of what the processes of `room` (a folder of `src/`) are made of. */
export const codeDigest = (room: string, tree = codeDirectory): string => codeDigestOf(room, tree);

/**
 * Of the supervisor. One of another release would not understand its list. One of another directory starts processes from there, with that
 * directory's Node: both may be gone by then, and what it shows to processes' users is its own code, not theirs.
 */
export const supervisorDigest = (): string => [codeDigest('node'), codeDirectory, process.execPath].join(' ');
