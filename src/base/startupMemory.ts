/**
 * What a process leaves behind by starting: half of its heap or more. One full collection, in which V8 also makes its young generation
 * small again and gives pages back, where the next one on its own might come in hours.
 */

/** Collects once. Needs `--expose-gc` (`node/compiledCode.ts`); without it, as in a test's own process, nothing happens. */
export const giveBackStartupMemory = (): void => {
  globalThis.gc?.({ type: 'major', execution: 'sync', flavor: 'last-resort' });
};
