/** Which code a process runs, so that one of another release is told from one of this. */
import { codeDigestOf } from '#base/codeDigest.ts';
import { codeDirectory } from './directory.ts';

/** Changes with the contents of what the processes of `room` (a folder of `src/`) are made of. */
export const codeDigest = (room: string, tree = codeDirectory): string => codeDigestOf(room, tree);

/** A supervisor of another release would not understand its list. */
export const supervisorDigest = (): string => codeDigest('node');
