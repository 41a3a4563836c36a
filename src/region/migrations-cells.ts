/**
 * Cells as their operator has them, and which of them an account has instances in (S3.9, S3.10). The index begins with what the region
 * knows: interfaces, whose instances' ids name their cells, and client tokens, which tell of instances that have just ended too.
 */
export const cellsStep = `
alter table cell
  -- An operator's word: a processor that joins says active each time.
  add column drained_at timestamptz,
  add column canary boolean not null default false,
  -- Its number stays taken for ever: it is in ids.
  add column retired_at timestamptz,
  add column takes jsonb;
create table account_cell (
  account_id text not null,
  cell_id text not null,
  noted_at timestamptz not null default now(),
  primary key (account_id, cell_id)
);
insert into account_cell (account_id, cell_id)
  select distinct eni.account_id, cell.cell_id from eni
    join cell on cell.number = ('x' || lpad(substr(eni.instance_id, 3, 3), 8, '0'))::bit(32)::int
  union
  select account_id, cell_id from launch_token;
`;
