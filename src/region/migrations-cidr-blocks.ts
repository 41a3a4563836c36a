/** Ranges that were added to a VPC; its first one is its own. They go with it, also where a process of the last release deletes it. */
export const vpcCidrBlocks = `
create table vpc_cidr_block (
  association_id text primary key,
  account_id text not null references account,
  vpc_id text not null references vpc on delete cascade,
  cidr text not null,
  created_at timestamptz not null default now(),
  unique (vpc_id, cidr)
);
create index vpc_cidr_block_account on vpc_cidr_block (account_id);
`;
