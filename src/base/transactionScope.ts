/**
 * Knows whether the code that runs is inside of a transaction. There it may neither call another process (a lock would be held for as
 * long as that one takes) nor take a second connection (a full pool would wait for itself). Tests fail on it; a running
 * cloud is warned once for each kind.
 */
import { AsyncLocalStorage } from 'node:async_hooks';

interface Scope {
  /** False once the transaction ended: what it left running in the background is free again. */
  open: boolean;
}

const scopes = new AsyncLocalStorage<Scope>();
/** Set by Node for every test process, and inherited by what it starts. */
const strict = process.env.NODE_TEST_CONTEXT !== undefined;
const warned = new Set<string>();
const warnedMax = 100;

/** Runs the inside of a transaction. */
export const insideTransaction = <T>(work: () => Promise<T>): Promise<T> => {
  const scope: Scope = { open: true };
  return scopes.run(scope, async () => {
    try {
      return await work();
    } finally {
      scope.open = false;
    }
  });
};

/** Call before anything that waits for another process. `what`: for people, for example a method's name. */
export const assertOutsideTransaction = (what: string): void => {
  if (scopes.getStore()?.open !== true) return;
  const message = `${what} inside of a transaction: its locks are held meanwhile`;
  if (strict) throw new Error(message);
  if (warned.has(what) || warned.size >= warnedMax) return;
  warned.add(what);
  process.emitWarning(message, 'TransactionWarning');
};
