/**
 * Sets of DHCP options beside the account's first one, and VPCs with none. A set that is there already, or that a process of the last
 * release makes, is its account's default.
 */
export const dhcpOptionsStep = `
alter table vpc alter column dhcp_options_id drop not null;
alter table dhcp_options add column is_default boolean not null default true;
create index vpc_dhcp_options on vpc (dhcp_options_id);
create index dhcp_options_account on dhcp_options (account_id);
`;
