/** Keys of operators, and tokens by which requests of theirs that are sent again are known (S8.5 over HTTP). */
export const operatorsStep = `
create table operator_key (
  access_key_id text primary key,
  operator text not null,
  sealed_secret bytea not null,
  created_by text not null,
  created_at timestamptz not null default now()
);
alter table rollout_policy add column client_token text;
create unique index rollout_policy_token on rollout_policy (client_token) where client_token is not null;
-- What the token came with: the same token with something else is a mistake.
alter table rollout add column client_request text;
alter table rollout_request add column client_token text;
create unique index rollout_request_token on rollout_request (rollout_id, client_token) where client_token is not null;
`;
