/** Placement groups. An interface names that of its instance, so that a group is not deleted while instances are in it. */
export const placementGroupsStep = `
create table placement_group (
  group_id text primary key,
  account_id text not null references account,
  name text not null,
  strategy text not null check (strategy in ('cluster', 'spread', 'partition')),
  partition_count int,
  created_at timestamptz not null default now(),
  unique (account_id, name),
  check ((strategy = 'partition') = (partition_count is not null))
);
alter table eni add column placement_group_id text references placement_group;
create index eni_placement_group on eni (placement_group_id) where placement_group_id is not null;
`;
