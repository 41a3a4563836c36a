/** Launch templates: a row each, and a row for each of their versions, which never change. */
export const launchTemplatesStep = `
create table launch_template (
  launch_template_id text primary key,
  account_id text not null references account,
  name text not null,
  created_by text not null,
  created_at timestamptz not null default now(),
  default_version int not null default 1,
  -- Of all that were ever made: the number of a deleted version is not given again.
  last_version int not null default 1,
  unique (account_id, name)
);
create table launch_template_version (
  launch_template_id text not null references launch_template on delete cascade,
  version int not null check (version > 0),
  description text,
  created_by text not null,
  created_at timestamptz not null default now(),
  data jsonb not null,
  primary key (launch_template_id, version)
);
`;
