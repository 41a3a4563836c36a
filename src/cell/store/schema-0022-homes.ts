/** Hosts that come from other cells and go to them (S3.2). */
import type { SchemaStep } from '#base/postgres/migrate.ts';

export const homesStep: SchemaStep = {
  name: '0022-homes',
  up: `
    alter table hosts
      -- Of the move that brought the host here.
      add column home_generation int not null default 1,
      -- Set before the host is told: one that says that it is there has gone, also when its answer was lost.
      add column leaving_to text,
      add column leaving_generation int;
    create table released_hosts (
      host_id text primary key,
      to_cell text not null,
      generation int not null,
      released_at timestamptz not null default now()
    );
  `,
};
