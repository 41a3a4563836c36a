/** Event windows and what is associated with them. A target is in one window of its account at most. */
export const eventWindowsStep = `
create table event_window (
  window_id text primary key,
  account_id text not null references account,
  name text,
  -- As the client gave them: one of the two.
  time_ranges jsonb,
  cron_expression text,
  -- What they mean: ranges of hours of the week.
  hours jsonb not null,
  created_at timestamptz not null default now(),
  check ((time_ranges is null) <> (cron_expression is null))
);
create index event_window_account on event_window (account_id);
create table event_window_target (
  account_id text not null references account,
  kind text not null check (kind in ('instance', 'tag', 'host')),
  -- An instance's id, a dedicated host's id, or a tag's key.
  target text not null,
  -- Of a tag; empty of others.
  value text not null default '',
  window_id text not null references event_window on delete cascade,
  primary key (account_id, kind, target, value)
);
create index event_window_target_window on event_window_target (window_id);
create index event_window_target_target on event_window_target (target);
`;
