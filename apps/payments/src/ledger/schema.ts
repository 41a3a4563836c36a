/**
 * The ledger's tables. What must hold is held by the database itself, so that no code path, script or repair can break it:
 *
 * - postings of a transaction sum to zero in each currency (deferred constraint trigger, I10), and there are at least two;
 * - transactions, postings, holds and their ends are append-only;
 * - a posting is written in the same database transaction as its ledger transaction: nothing is added to an old one;
 * - balances follow from postings and holds by trigger and cannot be set;
 * - posted − held never falls below the account's floor (overdraft), and no sub-account leaves its bounds;
 * - each sub-account's postings are numbered without a gap and chained by SHA-256;
 * - a day that was proved takes no more postings.
 */

import { balanceMinorMax } from '../contract/limits.ts';
import { currencyDigits } from '../contract/primitives.ts';
import type { SchemaStep } from '../store/migrate.ts';

const currencies = Object.keys(currencyDigits)
  .map((currency) => `'${currency}'`)
  .join(', ');

/** Constraint names that callers read errors by. */
export const noOverdraft = 'ledger_no_overdraft';
export const balanceBounded = 'ledger_balance_bounded';
export const dayOpen = 'ledger_day_open';
export const sumZero = 'ledger_sum_zero';
export const appendOnly = 'ledger_append_only';
export const sameCurrency = 'ledger_same_currency';

const appendOnlyTriggers = [
  'ledger_transaction',
  'ledger_posting',
  'ledger_hold',
  'ledger_hold_end',
  'ledger_day_proof',
]
  .map(
    (table) => `
create trigger append_only before update or delete on ${table} for each row execute function ledger_refuse_change();
create trigger no_truncate before truncate on ${table} for each statement execute function ledger_refuse_change();`,
  )
  .join('\n');

export const ledgerSchema: SchemaStep = {
  name: '0001-ledger',
  up: `
create table ledger_account (
  account_id text primary key,
  owner_id text not null,
  currency text not null check (currency in (${currencies})),
  -- 'world' is the other side of money that enters and leaves the network; it alone may be negative.
  kind text not null check (kind in ('person', 'merchant', 'world')),
  sub_accounts smallint not null check (sub_accounts between 1 and 256),
  created_ms bigint not null,
  unique (owner_id, currency)
);

create table ledger_balance (
  account_id text not null references ledger_account,
  sub smallint not null,
  currency text not null,
  floor_minor bigint not null,
  posted_minor bigint not null default 0,
  held_minor bigint not null default 0 check (held_minor >= 0),
  sequence bigint not null default 0,
  head bytea not null default '\\x',
  primary key (account_id, sub),
  constraint ${noOverdraft} check (posted_minor - held_minor >= floor_minor),
  constraint ${balanceBounded} check (posted_minor between -${balanceMinorMax} and ${balanceMinorMax})
) with (fillfactor = 50);

create table ledger_transaction (
  transaction_id text primary key,
  kind text not null,
  reference text not null,
  at_ms bigint not null,
  xid xid8 not null default pg_current_xact_id()
);
create index on ledger_transaction (reference);

create table ledger_posting (
  transaction_id text not null references ledger_transaction,
  account_id text not null,
  sub smallint not null,
  currency text not null,
  amount_minor bigint not null check (amount_minor <> 0),
  at_ms bigint not null,
  sequence bigint not null,
  balance_minor bigint not null,
  hash bytea not null,
  primary key (account_id, sub, sequence),
  foreign key (account_id, sub) references ledger_balance
);
create index on ledger_posting (transaction_id);
create index on ledger_posting (at_ms);

create table ledger_hold (
  hold_id text primary key,
  account_id text not null,
  sub smallint not null,
  amount_minor bigint not null check (amount_minor > 0),
  at_ms bigint not null,
  foreign key (account_id, sub) references ledger_balance
);
-- The primary key makes the end of a hold happen once: captured or released.
create table ledger_hold_end (
  hold_id text primary key references ledger_hold,
  outcome text not null check (outcome in ('captured', 'released')),
  at_ms bigint not null
);

create table ledger_day_proof (
  day date primary key,
  postings bigint not null,
  digest bytea not null,
  previous bytea not null,
  at_ms bigint not null
);

create function ledger_refuse_change() returns trigger language plpgsql as $$
begin
  raise exception using errcode = '23514', constraint = '${appendOnly}',
    message = format('%s is append-only: book a new transaction that corrects the old one', tg_table_name);
end $$;
${appendOnlyTriggers}

create function ledger_check_transaction() returns trigger language plpgsql as $$
begin
  if exists (select 1 from ledger_day_proof where day >= (to_timestamp(new.at_ms / 1000.0) at time zone 'UTC')::date) then
    raise exception using errcode = '23514', constraint = '${dayOpen}', message = 'the books of that day are closed';
  end if;
  new.xid := pg_current_xact_id();
  return new;
end $$;
create trigger day_open before insert on ledger_transaction for each row execute function ledger_check_transaction();

-- A balance changes by postings and holds alone: an UPDATE that comes from no trigger is refused.
create function ledger_guard_balance() returns trigger language plpgsql as $$
begin
  if pg_trigger_depth() < 2 then
    raise exception using errcode = '23514', constraint = '${appendOnly}',
      message = 'balances follow from postings and holds, and are not set';
  end if;
  return coalesce(new, old);
end $$;
create trigger guard before update or delete on ledger_balance for each row execute function ledger_guard_balance();
create function ledger_new_balance() returns trigger language plpgsql as $$
begin
  if new.posted_minor <> 0 or new.held_minor <> 0 or new.sequence <> 0 then
    raise exception using errcode = '23514', constraint = '${appendOnly}', message = 'a new account is empty';
  end if;
  return new;
end $$;
create trigger empty before insert on ledger_balance for each row execute function ledger_new_balance();

create function ledger_apply_posting() returns trigger language plpgsql as $$
declare
  kept ledger_balance;
begin
  perform 1 from ledger_transaction t
    where t.transaction_id = new.transaction_id and t.xid = pg_current_xact_id() and t.at_ms = new.at_ms;
  if not found then
    raise exception using errcode = '23514', constraint = '${appendOnly}',
      message = 'a posting is written together with its transaction';
  end if;
  -- The row lock taken here orders all postings of the sub-account until COMMIT.
  update ledger_balance b
    set posted_minor = b.posted_minor + new.amount_minor,
        sequence = b.sequence + 1,
        head = sha256(b.head || convert_to(concat_ws('|', new.account_id, new.sub, b.sequence + 1, new.transaction_id,
          new.currency, new.amount_minor, b.posted_minor + new.amount_minor, new.at_ms), 'UTF8'))
    where b.account_id = new.account_id and b.sub = new.sub and b.currency = new.currency
    returning * into kept;
  if not found then
    raise exception using errcode = '23514', constraint = '${sameCurrency}',
      message = format('account %s/%s does not exist or is not in %s', new.account_id, new.sub, new.currency);
  end if;
  new.sequence := kept.sequence;
  new.balance_minor := kept.posted_minor;
  new.hash := kept.head;
  return new;
end $$;
create trigger apply before insert on ledger_posting for each row execute function ledger_apply_posting();

create function ledger_check_sum() returns trigger language plpgsql as $$
declare
  postings bigint;
  unbalanced text;
begin
  select sum(n), min(currency) filter (where total <> 0) into postings, unbalanced
    from (select currency, count(*) n, sum(amount_minor) total from ledger_posting
          where transaction_id = new.transaction_id group by currency) sums;
  if unbalanced is not null or coalesce(postings, 0) < 2 then
    raise exception using errcode = '23514', constraint = '${sumZero}',
      message = format('transaction %s does not sum to zero in %s', new.transaction_id, coalesce(unbalanced, 'any currency'));
  end if;
  return null;
end $$;
-- On the transaction: it has postings at all. On each posting: an insert after an early check is checked again.
create constraint trigger sum_zero after insert on ledger_transaction deferrable initially deferred
  for each row execute function ledger_check_sum();
create constraint trigger sum_zero after insert on ledger_posting deferrable initially deferred
  for each row execute function ledger_check_sum();

create function ledger_apply_hold() returns trigger language plpgsql as $$
begin
  update ledger_balance set held_minor = held_minor + new.amount_minor
    where account_id = new.account_id and sub = new.sub;
  return new;
end $$;
create trigger apply after insert on ledger_hold for each row execute function ledger_apply_hold();

create function ledger_apply_hold_end() returns trigger language plpgsql as $$
begin
  update ledger_balance b set held_minor = b.held_minor - h.amount_minor
    from ledger_hold h where h.hold_id = new.hold_id and b.account_id = h.account_id and b.sub = h.sub;
  return new;
end $$;
create trigger apply after insert on ledger_hold_end for each row execute function ledger_apply_hold_end();

-- One round trip for a whole transaction: the locks on hot sub-accounts are held for this call and the COMMIT alone.
create function ledger_post(id text, kind text, reference text, at_ms bigint, accounts text[], subs smallint[],
    currencies text[], amounts bigint[]) returns void language plpgsql as $$
begin
  insert into ledger_transaction (transaction_id, kind, reference, at_ms) values (id, kind, reference, at_ms);
  -- In the order given, which is the same for every caller, so that no two wait for each other.
  for i in 1 .. array_length(accounts, 1) loop
    insert into ledger_posting (transaction_id, account_id, sub, currency, amount_minor, at_ms, sequence, balance_minor, hash)
      values (id, accounts[i], subs[i], currencies[i], amounts[i], at_ms, 0, 0, '');
  end loop;
end $$;
`,
};
