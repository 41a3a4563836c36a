/** Offers to requests that are one of several, in cells of several zones: of each wish one is offered at a time (offered-requests.ts). */
export const wishOffersStep = `
create table wish_offer (
  offer_id text primary key,
  request_id text not null,
  -- The first of them, by which they know each other.
  main_id text not null,
  -- Once over it stays so, whatever is heard late.
  open boolean not null,
  -- By when it was heard of first.
  place bigint generated always as identity,
  noted_at timestamptz not null default now()
);
create index wish_offer_main on wish_offer (main_id) where open;
create index wish_offer_age on wish_offer (noted_at);
`;
