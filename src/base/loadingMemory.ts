/**
 * What loading a process's code leaves behind: as much garbage as code. V8 would keep it, and a young generation of the size that loading
 * took, until a full collection is due, which in a process at rest may be never.
 */

/**
 * Collects all of it and gives the pages back. For the beginning of a process's main module: the code is loaded, the heap holds little else,
 * and nobody is served yet who would wait. Needs `--expose-gc` (`node/compiledCode.ts`); without it nothing happens.
 */
export const giveBackLoadingMemory = (): void => {
  globalThis.gc?.({ type: 'major', execution: 'sync', flavor: 'last-resort' });
};
