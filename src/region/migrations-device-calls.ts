/**
 * Calls of devices that are connected to another process of the region (device-relay.ts), with their answers: a notice has no room for them.
 * Unlogged: after a crash of the store nobody waits for one.
 */
export const deviceCallsStep = `
create unlogged table device_call (
  call_id uuid primary key,
  device text not null,
  method text not null,
  params jsonb not null,
  answer jsonb,
  asked_at timestamptz not null default now()
);
create index device_call_asked on device_call (asked_at);
`;
