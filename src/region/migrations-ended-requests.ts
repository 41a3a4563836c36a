/** Requests for capacity that were one of several, in cells of several zones, and have ended: the others learn it here. */
export const endedRequestsStep = `
create table ended_request (
  request_id text primary key,
  -- The first of them, by which they know each other.
  main_id text not null,
  fulfilled boolean not null,
  noted_at timestamptz not null default now()
);
create index ended_request_main on ended_request (main_id);
create index ended_request_age on ended_request (noted_at);
`;
