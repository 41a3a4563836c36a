/** Metadata and DHCP of the VPCs that are open on this card. */
import type { Logger } from '#base/log.ts';
import { answerDhcp } from './dhcp/answer.ts';
import { parseDhcp } from './dhcp/packet.ts';
import { openSockets } from './kernel/sockets.ts';
import { serveMetadata } from './metadata/server.ts';
import type { TokenSigner } from './metadata/token.ts';
import type { MetadataSubject } from './metadata/tree.ts';
import type { LocalPort } from './model/place.ts';
import type { Vpc } from './vpc.ts';

const dhcpClientPort = 68;

interface Service {
  close(): void;
}

export class Services {
  readonly #signer: TokenSigner;
  readonly #log: Logger;
  readonly #open = new Map<string, Promise<Service>>();

  constructor(signer: TokenSigner, log: Logger) {
    this.#signer = signer;
    this.#log = log;
  }

  /** Begins to answer in the VPC's namespace; does not wait for it. */
  start(vpc: Vpc): void {
    if (this.#open.has(vpc.vpcId)) return;
    const service = this.#serve(vpc);
    this.#open.set(vpc.vpcId, service);
    service.catch((error: unknown) => {
      this.#open.delete(vpc.vpcId);
      this.#log.error({ err: error, vpcId: vpc.vpcId }, 'metadata and DHCP could not be opened');
    });
  }

  /** Resolves when the VPC's sockets answer; tries once more if they did not open. */
  async ready(vpc: Vpc): Promise<void> {
    await this.#open.get(vpc.vpcId)?.catch(() => undefined);
    this.start(vpc);
    await this.#open.get(vpc.vpcId);
  }

  async stop(vpc: Vpc): Promise<void> {
    const service = this.#open.get(vpc.vpcId);
    this.#open.delete(vpc.vpcId);
    await service?.then(
      (each) => each.close(),
      () => undefined,
    );
  }

  async #serve(vpc: Vpc): Promise<Service> {
    const { metadata, dhcp } = await openSockets(vpc.namespace);
    const http = serveMetadata(metadata, this.#signer, (ip) => subjectAt(vpc, ip));
    dhcp.on('error', (error) => this.#log.warn({ err: error, vpcId: vpc.vpcId }, 'DHCP socket'));
    dhcp.on('message', (bytes) => {
      const answer = dhcpAnswer(vpc, bytes);
      if (answer !== undefined) dhcp.send(answer.bytes, dhcpClientPort, answer.to, () => undefined);
    });
    return {
      close: () => {
        http.close();
        dhcp.close();
      },
    };
  }
}

/** The port as declared now; as it was attached while the state does not have it. */
const currentPort = (vpc: Vpc, local: LocalPort): LocalPort['port'] =>
  vpc.state?.ports.find(({ eniId }) => eniId === local.port.eniId) ?? local.port;

const subjectAt = (vpc: Vpc, ip: string): MetadataSubject | undefined => {
  const local = [...vpc.ports.values()].find(({ port }) => port.ip === ip);
  const metadata = local === undefined ? undefined : vpc.metadata.get(local.port.eniId);
  if (local === undefined || metadata === undefined || vpc.state === undefined) return undefined;
  return { metadata, port: currentPort(vpc, local), vpc: vpc.state };
};

const dhcpAnswer = (vpc: Vpc, bytes: Buffer): ReturnType<typeof answerDhcp> => {
  const request = parseDhcp(bytes);
  const local = [...vpc.ports.values()].find(({ port }) => port.mac.toLowerCase() === request?.mac);
  if (request === undefined || local === undefined || vpc.state === undefined) return undefined;
  return answerDhcp(request, {
    vpc: vpc.state,
    port: currentPort(vpc, local),
    metadata: vpc.metadata.get(local.port.eniId),
  });
};
