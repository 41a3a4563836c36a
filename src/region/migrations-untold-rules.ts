/**
 * Rules of security groups that devices are not told: no packet can match them while the VPC has no IPv6 and the region no prefix lists.
 * They have a table of their own, so that a process of the last release, which knows no such rule, can never tell a device one without
 * its source, which would let everybody in.
 */
export const untoldRules = `
create table untold_security_group_rule (
  rule_id text primary key,
  group_id text not null references security_group on delete cascade,
  egress boolean not null,
  protocol text not null,
  from_port int,
  to_port int,
  cidr_ipv6 text,
  prefix_list_id text,
  referenced_group_id text references security_group,
  description text,
  check (num_nonnulls(cidr_ipv6, prefix_list_id, referenced_group_id) = 1),
  unique nulls not distinct
    (group_id, egress, protocol, from_port, to_port, cidr_ipv6, prefix_list_id, referenced_group_id)
);
create index untold_security_group_rule_reference on untold_security_group_rule (referenced_group_id);
create view any_security_group_rule as
  select rule_id, group_id, egress, protocol, from_port, to_port, cidr, null::text as cidr_ipv6,
    null::text as prefix_list_id, referenced_group_id, description
  from security_group_rule
  union all
  select rule_id, group_id, egress, protocol, from_port, to_port, null, cidr_ipv6,
    prefix_list_id, referenced_group_id, description
  from untold_security_group_rule;
`;
