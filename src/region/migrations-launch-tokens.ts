/** Which cell a client token of RunInstances was sent to, so that no other cell carries the same launch out (I4). */
export const launchTokens = `
create table launch_token (
  account_id text not null,
  token text not null,
  cell_id text not null,
  -- Requests of that cell which claimed it and were not refused for certain.
  claims int not null default 1,
  claimed_at timestamptz not null default now(),
  primary key (account_id, token)
);
create index launch_token_age on launch_token (claimed_at);
`;
