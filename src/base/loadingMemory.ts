/**
 * What loading a process's code leaves behind: as much garbage as code. V8 would keep it, and a young generation of the size that loading
 * took, until a full collection is due, which in a process at rest may be never.
 */

/** Flag of Node.js that a process needs for it. V8 refuses code that was compiled under other flags, so all that share a cache have it. */
export const collectFlag = '--expose-gc';

/**
 * Collects all of it and gives the pages back. For the beginning of a process's main module: the code is loaded, the heap holds little else,
 * and nobody is served yet who would wait. Without `collectFlag`, nothing happens.
 */
export const giveBackLoadingMemory = (): void => {
  globalThis.gc?.({ type: 'major', execution: 'sync', flavor: 'last-resort' });
};
