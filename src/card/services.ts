/** Metadata and DHCP of the VPCs that are open on this card: a process without privileges for each. */
import { join } from 'node:path';
import type { Logger } from '#base/log.ts';
import type { GuestFacts } from './guestServices/message.ts';
import { GuestServices } from './guestServices/process.ts';
import type { Hearing } from './hearing.ts';
import { guestServicesUidBase } from './limits.ts';
import { tokenKeyOf } from './metadata/tokenKey.ts';
import type { LocalPort } from './model/place.ts';
import type { Vpc } from './vpc.ts';

export class Services {
  readonly #stateDir: string;
  readonly #tokenKey: Buffer;
  readonly #log: Logger;
  readonly #hearing: Hearing;
  readonly #open = new Map<string, GuestServices>();

  constructor({
    stateDir,
    tokenKey,
    log,
    hearing,
  }: {
    stateDir: string;
    tokenKey: Buffer;
    log: Logger;
    hearing: Hearing;
  }) {
    this.#hearing = hearing;
    this.#stateDir = stateDir;
    this.#tokenKey = tokenKey;
    this.#log = log;
  }

  /** Begins to answer in the VPC's namespace; does not wait for it. */
  start(vpc: Vpc): void {
    if (this.#open.has(vpc.vpcId) || vpc.state === undefined) return;
    const services = new GuestServices({
      namespace: vpc.namespace,
      uid: guestServicesUidBase + vpc.state.vni,
      tokenKey: tokenKeyOf(this.#tokenKey, vpc.vpcId).toString('hex'),
      // The run's own, where this process has one: then its code lies there compiled.
      cacheDir: process.env.NODE_COMPILE_CACHE ?? join(this.#stateDir, 'compile-cache'),
      log: this.#log,
      heard: (what, eniId) => this.#hearing.heard(what, eniId),
    });
    this.#open.set(vpc.vpcId, services);
    services.update(factsOf(vpc));
  }

  /** What guests are told is what the VPC is now. */
  update(vpc: Vpc): void {
    this.#open.get(vpc.vpcId)?.update(factsOf(vpc));
  }

  /** Resolves when the VPC's guests are answered by what is true now. Not open: nothing to wait for. */
  async ready(vpc: Vpc): Promise<void> {
    this.update(vpc);
    await this.#open.get(vpc.vpcId)?.ready();
  }

  async stop(vpc: Vpc): Promise<void> {
    const services = this.#open.get(vpc.vpcId);
    this.#open.delete(vpc.vpcId);
    await services?.close();
  }
}

/** The port as declared now; as it was attached while the state does not have it. */
const currentPort = (vpc: Vpc, local: LocalPort): LocalPort['port'] =>
  vpc.state?.ports.find(({ eniId }) => eniId === local.port.eniId) ?? local.port;

const factsOf = (vpc: Vpc): GuestFacts | undefined => {
  if (vpc.state === undefined) return undefined;
  const { vpcId, cidrs, subnets, dnsServers, domainName, publicDomainName, dhcp, mtu } = vpc.state;
  return {
    // How packets are routed is not for guests.
    vpc: {
      vpcId,
      cidrs,
      subnets: subnets.map((each) => ({ ...each, routes: [] })),
      dnsServers,
      domainName,
      ...(publicDomainName === undefined ? {} : { publicDomainName }),
      ...(dhcp === undefined ? {} : { dhcp }),
      mtu,
    },
    guests: [...vpc.ports.values()].map((local) => ({
      port: currentPort(vpc, local),
      metadata: vpc.metadata.get(local.port.eniId),
    })),
  };
};
