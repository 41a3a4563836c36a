/** How what runs now waits for the store: before others, or for longer than others. */
import { AsyncLocalStorage } from 'node:async_hooks';

interface Patience {
  readonly urgent?: boolean;
  readonly queryTimeoutMs?: number;
}

const marks = new AsyncLocalStorage<Patience>();

/**
 * Connections that `work` asks for are given to it before anybody else: a lease that is not renewed in time costs more than any one
 * request.
 */
export const urgently = <T>(work: () => Promise<T>): Promise<T> =>
  marks.run({ ...marks.getStore(), urgent: true }, work);

/** Statements of `work` may take this long. */
export const patiently = <T>(queryTimeoutMs: number, work: () => Promise<T>): Promise<T> =>
  marks.run({ ...marks.getStore(), queryTimeoutMs }, work);

export const patience = (): Patience => marks.getStore() ?? {};
