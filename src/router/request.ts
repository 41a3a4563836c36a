/** One request on its way through the router, and what becomes of it. */
import { createHash } from 'node:crypto';
import { PandoError } from '#contracts/errors.ts';
import type { KnownAction, WireInput } from '#wire/types.ts';
import type { AccountCellIndex } from './accountCells.ts';
import type { Caller, IdParameter } from './actions.ts';
import type { CellDirectory } from './directory.ts';
import type { LaunchMemory } from './launchMemory.ts';
import type { Lru } from './lru.ts';
import type { BackendCall } from './processor.ts';
import type { RegionLink } from './regionLink.ts';

/** An authenticated, decoded request. */
export interface Call {
  readonly requestId: string;
  readonly action: KnownAction;
  /** As plain JSON (`toTransport`). */
  readonly input: WireInput;
  readonly caller: Caller;
  /** How often the client has sent this, as it says itself (`amz-sdk-request: attempt=2`); 1 if it does not say. */
  readonly attempt: number;
  /** Of a launch: without capacity, a request for it is to wait so long. */
  readonly pendingSeconds?: number;
  /** Of a launch: the offer of capacity that it claims. */
  readonly offerId?: string;
}

export interface Answer {
  readonly output: WireInput;
  /** Who answered, for the log. */
  readonly backend: string;
  /** Cells whose share is missing from the output (S3.10). */
  readonly unreachable?: readonly string[];
}

/** What routes work with. */
export interface Parts {
  readonly region: RegionLink;
  readonly cells: CellDirectory;
  /** Which of them an account has instances in. */
  readonly accountCells: AccountCellIndex;
  readonly launches: LaunchMemory;
  /** Zone by subnet id: a subnet never changes its zone. */
  readonly subnetZones: Lru<string, string>;
  /** Cells tried after the first (S3.8). */
  readonly otherCellsMax: number;
  /** How long a cell that does not seem to live is waited for where others answer too. */
  readonly silentCellMs: number;
}

/** The call as a backend gets it, with another input where only a share of it is meant. */
export const backendCall = (
  call: Call,
  input: WireInput = call.input,
  action = call.action,
): BackendCall => ({
  requestId: call.requestId,
  accountId: call.caller.accountId,
  principal: call.caller.arn,
  ...(call.caller.accessKeyId === undefined ? {} : { accessKeyId: call.caller.accessKeyId }),
  action,
  input,
  ...(call.offerId === undefined || action !== 'RunInstances' ? {} : { offerId: call.offerId }),
});

/** The ids of a parameter, be it a list or one. */
export const idsIn = (input: WireInput, parameter: IdParameter | undefined): readonly string[] => {
  const value = parameter === undefined ? undefined : input[parameter.name];
  if (Array.isArray(value)) return value.filter((id) => typeof id === 'string');
  return typeof value === 'string' ? [value] : [];
};

/** A text of the input, or `undefined`. */
export const textIn = (input: unknown, name: string): string | undefined => {
  const value: unknown = typeof input === 'object' && input !== null ? Reflect.get(input, name) : undefined;
  return typeof value === 'string' && value !== '' ? value : undefined;
};

/** A list of the output; anything else is empty. */
export const listIn = (output: WireInput, name: string): readonly unknown[] => {
  const value = output[name];
  return Array.isArray(value) ? value : [];
};

export const missingParameter = (name: string): PandoError =>
  new PandoError('MissingParameter', `The request must contain the parameter ${name}`);

/** SHA-256 of a value as JSON, the same in whatever order its keys were set. */
export const contentHash = (value: unknown): string => {
  const text = JSON.stringify(value, (_key, item: unknown) => {
    if (typeof item !== 'object' || item === null || Array.isArray(item)) return item;
    return Object.fromEntries(Object.entries(item).sort(([a], [b]) => (a < b ? -1 : 1)));
  });
  return createHash('sha256').update(text).digest('hex');
};
