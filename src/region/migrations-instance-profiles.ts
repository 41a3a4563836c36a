/**
 * Instance profiles: what instances of an account may do to it. Their credentials are no rows: they are derived from the profile, the
 * instance and the time (instance-credentials.ts).
 */
export const instanceProfilesStep = `
create table instance_profile (
  profile_id text primary key,
  account_id text not null references account,
  name text not null,
  policy text not null check (policy in ('read-only', 'full')),
  created_at timestamptz not null default now(),
  unique (account_id, name)
);
`;
