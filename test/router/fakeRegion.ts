/** A region in memory behind real RPC. */
import { type Authority, issueCertificate } from '#base/pki.ts';
import { openAccess } from '#base/rpc/access.ts';
import { type RpcServer, serveRpc } from '#base/rpc/server.ts';
import { PandoError } from '#contracts/errors.ts';
import { type CellRecord, regionContract } from '#contracts/region.ts';
import { signingKeysAt } from '#region/accounts.ts';
import type { BackendParams } from './fakeCell.ts';

export const accountId = '111122223333';

/** Access keys of three accounts. Made up for the tests. */
export const keys = {
  first: { accessKeyId: 'PANDOTESTKEY00000001', secretAccessKey: 'test-secret/one+1', accountId },
  second: {
    accessKeyId: 'PANDOTESTKEY00000002',
    secretAccessKey: 'test-secret/two+2',
    accountId: '444455556666',
  },
  third: {
    accessKeyId: 'PANDOTESTKEY00000003',
    secretAccessKey: 'test-secret/three',
    accountId: '777788889999',
  },
} as const;

export class FakeRegion {
  readonly calls: BackendParams[] = [];
  /** What an answer about a key waits for. */
  keysAnswered: Promise<unknown> | undefined;
  readonly revoked = new Set<string>();
  /** How often each key was asked for. */
  readonly lookups = new Map<string, number>();
  cells: () => readonly CellRecord[] = () => [];
  /** The index of accounts' cells; absent: a region of the last release, which has none. */
  accountCells: ((accountId: string) => readonly string[]) | undefined;
  cellsPerAccount: number | undefined;
  readonly subnets = new Map<string, string>();
  /** Answers in place of the built-in ones. */
  /** Knows no signing keys: tells secrets. */
  lastRelease = false;
  override: ((params: BackendParams) => unknown) | undefined;
  readonly #authority: Authority;
  #server: RpcServer | undefined;
  #port = 0;

  constructor(authority: Authority) {
    this.#authority = authority;
  }

  get port(): number {
    return this.#port;
  }

  get actions(): readonly string[] {
    return this.calls.map(({ action }) => action);
  }

  async start(): Promise<void> {
    this.#server = await serveRpc({
      tls: await issueCertificate(this.#authority, 'spiffe://pando/region/r'),
      host: '127.0.0.1',
      port: this.#port,
      contract: regionContract,
      access: openAccess(regionContract),
      remote: {},
      authorize: (identity) => identity.startsWith('spiffe://pando/router/'),
      handlers: () => ({
        'region.accessKey': async (params) => {
          const found = this.#key(params);
          await this.keysAnswered;
          return found;
        },
        'region.cells': () => ({
          ...{ region: 'lab-1', cells: [...this.cells()] },
          ...(this.cellsPerAccount === undefined ? {} : { cellsPerAccount: this.cellsPerAccount }),
        }),
        'region.accountCells': async ({ accountId }) => {
          if (this.accountCells === undefined)
            throw new PandoError('UnsupportedOperation', 'region.accountCells is not served here.');
          return { cellIds: [...this.accountCells(accountId)] };
        },
        'ec2.call': async (params) => {
          this.calls.push(params);
          return { output: (await this.override?.(params)) ?? this.#act(params) };
        },
      }),
    });
    this.#port = this.#server.port;
  }

  async kill(): Promise<void> {
    await this.#server?.close();
    this.#server = undefined;
  }

  #key({ accessKeyId, signingKeys }: { accessKeyId: string; signingKeys?: true | undefined }) {
    this.lookups.set(accessKeyId, (this.lookups.get(accessKeyId) ?? 0) + 1);
    const key = Object.values(keys).find((candidate) => candidate.accessKeyId === accessKeyId);
    if (key === undefined || this.revoked.has(accessKeyId)) return { found: false };
    const arn = `arn:aws:iam::${key.accountId}:root`;
    const secret = key.secretAccessKey;
    const keyed = signingKeys === true && !this.lastRelease;
    return {
      ...{ found: true, accountId: key.accountId, arn, userId: key.accountId },
      ...(keyed ? { signingKeys: signingKeysAt(Date.now(), 'lab-1', secret) } : { secret }),
    };
  }

  #act({ action, input }: BackendParams): unknown {
    switch (action) {
      case 'DescribeRegions':
        return {
          Regions: [{ RegionName: 'lab-1', Endpoint: '127.0.0.1', OptInStatus: 'opt-in-not-required' }],
        };
      case 'DescribeSubnets': {
        const [id] = (input as { SubnetIds?: string[] }).SubnetIds ?? [];
        if (id === undefined) return { Subnets: [] };
        const zone = this.subnets.get(String(id));
        if (zone === undefined)
          throw new PandoError('InvalidSubnetID.NotFound', `The subnet ID '${id}' does not exist`);
        return { Subnets: [{ SubnetId: id, AvailabilityZone: zone }] };
      }
      case 'DescribeTags':
        return { Tags: [{ Key: 'region', Value: 'r', ResourceId: 'vpc-0123456789abcdef0' }] };
      default:
        return {};
    }
  }
}
