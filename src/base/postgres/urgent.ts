/** What must not wait in line for a connection: a lease that is not renewed in time costs more than any one request. */
import { AsyncLocalStorage } from 'node:async_hooks';

const marks = new AsyncLocalStorage<boolean>();

/** Connections that `work` asks for are given to it before anybody else. */
export const urgently = <T>(work: () => Promise<T>): Promise<T> => marks.run(true, work);

export const isUrgent = (): boolean => marks.getStore() === true;
