/** A request to `/capacity/v1/`, and how its cell is asked. */
import type { CapacityOperation } from '#contracts/capacity.ts';
import type { BackendCall } from '../processor.ts';

export interface CapacityRequest {
  readonly method: string;
  /** Below `/capacity/v1/`. */
  readonly path: string;
  readonly query: URLSearchParams;
  readonly body: unknown;
  readonly call: Pick<BackendCall, 'requestId' | 'accountId' | 'principal'>;
}

export const backend = (
  { call }: Pick<CapacityRequest, 'call'>,
  action: CapacityOperation,
  input: unknown,
): BackendCall => ({ ...call, action, input });
