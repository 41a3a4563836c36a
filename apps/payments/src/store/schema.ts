/** Every schema step of the application, in order. */
import { idempotencySchema } from '../ledger/idempotency.ts';
import { ledgerSchema } from '../ledger/schema.ts';
import type { SchemaStep } from './migrate.ts';

export const schema: readonly SchemaStep[] = [ledgerSchema, idempotencySchema];
