/**
 * Constraints of placement: what hosts tell of themselves, whose each claim is and which group it belongs to, and one row for each
 * placement group, whose lock orders the placements of the group.
 *
 * A processor of the last release makes claims without these columns: the trigger fills them for what comes from its writes.
 */
import type { SchemaStep } from '#base/postgres/migrate.ts';

const tables = `
  alter table hosts
    -- Null: it told of none.
    add column rack text,
    add column capabilities text[] not null default '{}',
    -- The account whose dedicated claims it has, and how many these are.
    add column dedicated_to text,
    add column dedicated_claims int not null default 0 check (dedicated_claims >= 0);
  alter table claims
    add column account_id text,
    add column group_id text,
    add column group_partition int,
    add column dedicated boolean not null default false;
  create index claims_group on claims (group_id) where group_id is not null;
  create table placement_groups (
    group_id text primary key,
    strategy text not null,
    partition_count int
  );
`;

const fill = `
  create function pando_constraints_of_claim() returns trigger language plpgsql as $body$
  begin
    if new.account_id is null then
      select account_id, spec #>> '{placementGroup,groupId}', (spec #>> '{placementGroup,partition}')::int
        into new.account_id, new.group_id, new.group_partition from instances where id = new.holder;
    end if;
    return new;
  end $body$;
  create trigger claims_constraints before insert on claims for each row
    when (pg_trigger_depth() > 0 and new.purpose in ('instance', 'migration'))
    execute function pando_constraints_of_claim();
`;

const existing = `
  update hosts set capabilities = array[accelerator];
  update claims set account_id = i.account_id, group_id = i.spec #>> '{placementGroup,groupId}'
  from instances i where i.id = claims.holder and claims.purpose in ('instance', 'migration');
`;

export const placementStep: SchemaStep = {
  name: '0020-placement',
  up: [tables, existing, fill].join('\n'),
};
