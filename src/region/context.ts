/** What an action's handler knows beside its input. */
import type { Region } from './region.ts';

export interface ActionContext {
  readonly region: Region;
  /** Every read and write is scoped to it: what belongs to others is not found. */
  readonly accountId: string;
  /** ARN of the caller. */
  readonly principal: string;
  readonly requestId: string;
  /** Of the call. */
  readonly action?: string;
  /** With which it was signed; absent: a router of the last release does not say. */
  readonly accessKeyId?: string | undefined;
}
