/** Payments, asks, splits, decisions and what is told about them. */
import type { SchemaStep } from './migrate.ts';

/** The sweeper looks every second for parts that nobody answered: among those that are asked for, and not among all that ever were. */
export const askedPartsSchema: SchemaStep = {
  name: '0009-asked-parts',
  up: `create index split_part_asked on split_part (split_id) where state = 'asked';`,
};

/**
 * A payer's day is summed up for each decision: from what was spent alone, and not from whatever was declined, too. Whoever pays while
 * a large table is being indexed is told to try again, so it may take longer than a statement otherwise may.
 */
export const spentSchema: SchemaStep = {
  name: '0060-payment-spent',
  up: `
set local statement_timeout = '10min';
create index payment_spent on payment (payer_id, currency, at_ms) include (amount_minor)
  where state in ('completed', 'awaiting_confirmation');`,
};

export const paymentsSchema: SchemaStep = {
  name: '0005-payments',
  up: `
create table payment (
  payment_id text primary key,
  kind text not null check (kind in ('payment', 'reimbursement', 'top_up')),
  payer_id text not null,
  payee_id text not null,
  establishment_id text references establishment,
  currency text not null,
  amount_minor bigint not null check (amount_minor > 0),
  note text not null,
  state text not null check (state in ('completed', 'awaiting_confirmation', 'declined', 'expired')),
  reasons text[] not null,
  decision_id text,
  ask_id text,
  split_id text,
  device_id text,
  confirm_by text check (confirm_by in ('payee_device', 'own_device')),
  confirm_code text,
  confirm_attempts smallint not null default 0,
  expires_ms bigint,
  at_ms bigint not null,
  check ((state = 'awaiting_confirmation') <= (confirm_by is not null and expires_ms is not null))
);
create index on payment (payer_id, payment_id desc);
create index on payment (payee_id, payment_id desc);
create index on payment (payer_id, at_ms);
create index on payment (at_ms);
create index on payment (expires_ms) where state = 'awaiting_confirmation';

create table ask (
  ask_id text primary key,
  payee_id text not null references person,
  establishment_id text references establishment,
  from_id text references person,
  currency text not null,
  amount_minor bigint not null check (amount_minor > 0),
  note text not null,
  token text not null,
  state text not null check (state in ('open', 'paid', 'declined', 'cancelled', 'expired')),
  payment_id text,
  at_ms bigint not null,
  expires_ms bigint not null
);
create index on ask (payee_id, ask_id desc);
create index on ask (from_id, ask_id desc);
create index on ask (expires_ms) where state = 'open';

-- Contacts of the payer who were found to be there when a payment was made.
create table co_presence (
  payment_id text not null references payment,
  person_id text not null,
  basis text not null check (basis in ('same_establishment', 'within_threshold', 'often_together')),
  score double precision not null,
  primary key (payment_id, person_id)
);

create table split (
  split_id text primary key,
  payment_id text not null references payment,
  payer_id text not null,
  at_ms bigint not null,
  expires_ms bigint not null
);
create index on split (payment_id);
create index on split (payer_id, split_id desc);

create table split_part (
  split_id text not null references split,
  person_id text not null,
  amount_minor bigint not null check (amount_minor > 0),
  state text not null check (state in ('asked', 'approved', 'declined', 'expired', 'cancelled')),
  reimbursement_id text references payment,
  primary key (split_id, person_id),
  check ((state = 'approved') = (reimbursement_id is not null))
);
create index on split_part (person_id, split_id desc);

create table decision (
  decision_id text primary key,
  payment_id text,
  payer_id text not null,
  payee_id text not null,
  establishment_id text,
  engine text not null,
  inputs jsonb not null,
  outcome jsonb not null,
  answer text not null,
  amount_minor bigint not null,
  currency text not null,
  at_ms bigint not null
);
create index on decision (answer, decision_id desc);
create index on decision (at_ms);

create table live_event (
  event_id bigint generated always as identity primary key,
  -- A reader goes on from (xid, event_id) among transactions that are all over: an id alone may commit after a larger one.
  xid xid8 not null default pg_current_xact_id(),
  person_id text not null,
  data jsonb not null,
  at_ms bigint not null
);
create index on live_event (person_id, xid, event_id);
create index on live_event (at_ms);
`,
};
