/** What a card tells the process that answers the guests of one VPC. One JSON text a line, by its standard input. */
import type { VmMetadata, VpcPort, VpcState } from '#contracts/network.ts';

/** What guests may learn of their VPC. */
export type GuestVpc = Pick<
  VpcState,
  'vpcId' | 'cidrs' | 'subnets' | 'dnsServers' | 'domainName' | 'publicDomainName' | 'dhcp' | 'mtu'
>;

/** Replaces what was told before. Only ports whose taps are on this card. */
export interface GuestFacts {
  readonly vpc: GuestVpc;
  readonly guests: readonly { readonly port: VpcPort; readonly metadata: VmMetadata | undefined }[];
}

export interface Update {
  /** Said back, as `{"ack":N}`, when it is in force. */
  readonly seq: number;
  /** Of the signer of tokens, in hexadecimal. */
  readonly tokenKey: string;
  readonly facts: GuestFacts | undefined;
}
