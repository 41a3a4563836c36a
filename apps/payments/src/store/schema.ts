/** Every schema step of the application, in order. */
import { idempotencyClaimSchema, idempotencySchema } from '../ledger/idempotency.ts';
import { ledgerSchema } from '../ledger/schema.ts';
import { payerSchema } from '../payments/payer.ts';
import type { SchemaStep } from './migrate.ts';
import { locationSchema } from './schema-location.ts';
import { askedPartsSchema, paymentsSchema, spentSchema } from './schema-payments.ts';
import { merchantsSchema, peopleSchema } from './schema-people.ts';

export const schema: readonly SchemaStep[] = [
  ledgerSchema,
  idempotencySchema,
  peopleSchema,
  locationSchema,
  paymentsSchema,
  idempotencyClaimSchema,
  merchantsSchema,
  payerSchema,
  askedPartsSchema,
  spentSchema,
];
