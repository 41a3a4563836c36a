/** Methods that have a new name, between processes of this release and of the last one. */
import { PandoError } from '#contracts/errors.ts';
import type { Caller, CallOptions, Contract, Method, Params, Result } from './contract.ts';

/** Present name → the one of the last release. */
export type FormerNames = Readonly<Record<string, string>>;

/** A contract, or its handlers, with each renamed method under its former name too. */
export const withFormerNames = <T extends object>(table: T, former: FormerNames): T => {
  const entries = new Map(Object.entries(table));
  const also = Object.entries(former).map(([now, before]) => [before, entries.get(now)]);
  return { ...table, ...Object.fromEntries(also) };
};

/** Whether the peer does not know the method: it is of the last release. */
export const isUnknownMethod = (error: unknown): boolean =>
  error instanceof PandoError &&
  error.code === 'UnsupportedOperation' &&
  error.message.endsWith('is not served here.');

/** Calls a method; where the peer knows it by its former name only, by that. The caller's contract must have both ({@link withFormerNames}). */
export const callByEitherName = async <C extends Contract, M extends Method<C>>(
  caller: Caller<C>,
  method: M,
  params: Params<C, M>,
  { former, ...options }: CallOptions & { readonly former: FormerNames },
): Promise<Result<C, M>> => {
  try {
    return await caller.call(method, params, options);
  } catch (error) {
    const before = former[method];
    if (before === undefined || !isUnknownMethod(error)) throw error;
    // The same method under another name: the same parameters and the same result.
    return caller.call(before as M, params, options);
  }
};
