/** What each action of the cell is given beside its input. */

import type { Begun } from '../lifecycle.ts';
import type { Offers } from '../notices/offers.ts';
import type { CellServices } from '../services.ts';
import type { WorkflowEngine } from '../workflow/engine.ts';

export interface CellRequest {
  readonly requestId: string;
  readonly accountId: string;
  readonly principal: string;
  /** A launch claims this offer of capacity. */
  readonly offerId?: string | undefined;
}

export interface CellContext {
  readonly request: CellRequest;
  readonly services: CellServices;
  readonly owner: string;
  readonly engine: WorkflowEngine<CellServices>;
  readonly pageSecret: string;
  readonly offers: Offers;
  /** Hands what a transaction began to the engine. */
  begun(begun: Begun): void;
  /** Says that what a guest reads of the metadata service has changed. */
  metadataChanged(): void;
  /** How many instances the cell has, as counted lately. */
  vms(): number;
}
