import type * as ec2 from '@aws-sdk/client-ec2';
import type * as sts from '@aws-sdk/client-sts';

type Ec2 = typeof ec2;
type Sts = typeof sts;

/** An action of EC2, built or not. */
export type ActionName = {
  [K in keyof Ec2]: K extends `${infer Name}Command` ? (Name extends `$` ? never : Name) : never;
}[keyof Ec2];

/** The actions of STS that Pando answers. */
export type StsActionName = 'GetCallerIdentity';

/** Any action that the wire knows. */
export type KnownAction = ActionName | StsActionName;

type CommandOf<O extends KnownAction> = `${O}Command` extends keyof Ec2
  ? Ec2[`${O}Command`]
  : `${O}Command` extends keyof Sts
    ? Sts[`${O}Command`]
    : never;

/** The SDK types a required member as `T | undefined`; a decoded request has it. */
type Present<T> = {
  [K in keyof T]: undefined extends T[K]
    ? object extends Pick<T, K>
      ? T[K]
      : Exclude<T[K], undefined>
    : T[K];
};

/** What action `O` takes, as {@link decodeRequest} gives it: required members are there. */
export type In<O extends KnownAction> =
  CommandOf<O> extends new (
    ...input: infer Inputs extends readonly unknown[]
  ) => unknown
    ? Present<NonNullable<Inputs[0]>>
    : never;

/** What action `O` gives. */
export type Out<O extends KnownAction> =
  CommandOf<O> extends new (
    ...input: never
  ) => { resolveMiddleware(...rest: never): (...args: never) => Promise<{ output: infer Output }> }
    ? Omit<Output, '$metadata'>
    : never;

/** One function per action that is built. `C` is what each needs beside its input. */
export type Handlers<C> = { readonly [O in KnownAction]?: (input: In<O>, context: C) => Promise<Out<O>> };

/** A decoded input whose action is not known to the compiler. */
export type WireInput = Readonly<Record<string, unknown>>;
