/** A cell in memory behind real RPC: any number of processors over one store, and faults to order. */
import { setTimeout as sleep } from 'node:timers/promises';
import { type Authority, issueCertificate } from '#base/pki.ts';
import { openAccess } from '#base/rpc/access.ts';
import type { ParsedParams } from '#base/rpc/contract.ts';
import { type RpcServer, serveRpc } from '#base/rpc/server.ts';
import { backendContract } from '#contracts/backend.ts';
import { PandoError } from '#contracts/errors.ts';
import { newCellId } from '#contracts/ids.ts';
import type { CellRecord } from '#contracts/region.ts';
import { cutPage, readPage } from '#wire/pagination.ts';
import { freePort } from '../support/freePort.ts';

export type BackendParams = ParsedParams<typeof backendContract, 'ec2.call'>;
type Input = Readonly<Record<string, unknown>>;

interface FakeInstance {
  readonly InstanceId: string;
  readonly ClientToken: string;
  readonly accountId: string;
  State: { Code: number; Name: string };
}

/** What a cell does with the next calls. */
export type Mode =
  | 'well'
  | 'full'
  /** Takes the call, does it, and never answers. */
  | 'mute'
  | 'broken';

/** As a real cell's: without it, one number in a form would make as many instances as it says. */
const instancesPerRequestMax = 100;

export class FakeCell {
  readonly instances: FakeInstance[] = [];
  readonly calls: BackendParams[] = [];
  mode: Mode = 'well';
  /** Cells that cluster groups are in, by the group's name: as the region tells a cell that is asked to add a member. */
  groups: ReadonlyMap<string, string> = new Map();
  /** What its processors say of their health; `mute`: nothing, as frozen ones do. */
  ready: boolean | 'mute' = true;
  readonly number: number;
  readonly zone: string;
  state: CellRecord['state'] = 'active';
  readonly #authority: Authority;
  readonly #processors = new Map<number, RpcServer>();
  #ports: readonly number[] = [];

  constructor(authority: Authority, number: number, zone: string) {
    this.#authority = authority;
    this.number = number;
    this.zone = zone;
  }

  get cellId(): string {
    return `cell-${this.number}`;
  }

  get record(): CellRecord {
    const processors = this.#ports.map((port) => `127.0.0.1:${port}`);
    return { cellId: this.cellId, number: this.number, processors, zone: this.zone, state: this.state };
  }

  /** The actions that it was asked for, health and the like left out. */
  get actions(): readonly string[] {
    return this.calls.map(({ action }) => action);
  }

  async start(processors = 2): Promise<void> {
    const ports: number[] = [];
    for (let i = 0; i < processors; i += 1) ports.push(await this.#listen(await freePort()));
    this.#ports = ports;
  }

  /** Kills all processors, or the one of that index. */
  async kill(index?: number): Promise<void> {
    const ports = index === undefined ? this.#ports : this.#ports.slice(index, index + 1);
    for (const port of ports) {
      await this.#processors.get(port)?.close();
      this.#processors.delete(port);
    }
  }

  async revive(): Promise<void> {
    for (const port of this.#ports) if (!this.#processors.has(port)) await this.#listen(port);
  }

  /** Puts instances in the store without a request. */
  seed(accountId: string, count: number): readonly string[] {
    const made = Array.from({ length: count }, () => this.#make(accountId, 'seed'));
    this.instances.push(...made);
    return made.map(({ InstanceId }) => InstanceId);
  }

  async #listen(port: number): Promise<number> {
    const server = await serveRpc({
      tls: await issueCertificate(
        this.#authority,
        `spiffe://pando/cell/${this.cellId}-${this.#processors.size}`,
      ),
      host: '127.0.0.1',
      port,
      contract: backendContract,
      access: openAccess(backendContract),
      remote: {},
      authorize: (identity) => identity.startsWith('spiffe://pando/router/'),
      handlers: () => ({
        'ec2.call': async (params) => ({ output: await this.#call(params) }),
        'process.health': () => this.#health(),
      }),
    });
    this.#processors.set(server.port, server);
    return server.port;
  }

  async #health(): Promise<{ name: string; ready: boolean }> {
    if (this.ready === 'mute') await sleep(60_000, undefined, { ref: false });
    return { name: this.cellId, ready: this.ready === true };
  }

  async #call(params: BackendParams): Promise<unknown> {
    this.calls.push(params);
    if (this.mode === 'broken') throw new PandoError('InternalError', 'The store is gone.');
    const output = this.#act(params, params.input as Input);
    if (this.mode === 'mute') await sleep(60_000, undefined, { ref: false });
    return output;
  }

  #act({ action, accountId }: BackendParams, input: Input): unknown {
    switch (action) {
      case 'RunInstances':
        return this.#run(accountId, input);
      case 'DescribeInstances':
        return this.#describe(accountId, input);
      case 'StartInstances':
        return { StartingInstances: this.#change(accountId, input, { Code: 0, Name: 'pending' }) };
      case 'StopInstances':
        return { StoppingInstances: this.#change(accountId, input, { Code: 64, Name: 'stopping' }) };
      case 'TerminateInstances':
        return { TerminatingInstances: this.#change(accountId, input, { Code: 32, Name: 'shutting-down' }) };
      case 'DescribeTags':
        return {
          Tags: [{ Key: 'cell', Value: this.cellId, ResourceId: newCellId('instance', this.number) }],
        };
      case 'GetConsoleOutput':
        this.#find(accountId, [String(input.InstanceId)]);
        return { InstanceId: input.InstanceId, Output: Buffer.from('hello').toString('base64') };
      default:
        return {};
    }
  }

  #run(accountId: string, input: Input): unknown {
    const token = String(input.ClientToken);
    const known = this.instances.filter((i) => i.ClientToken === token && i.accountId === accountId);
    if (known.length > 0) return reservation(known);
    const { GroupName } = (input.Placement ?? {}) as { GroupName?: string };
    const tokenCellId = this.groups.get(GroupName ?? '') ?? this.cellId;
    if (tokenCellId !== this.cellId)
      throw new PandoError('Unavailable', 'The placement group is in another cell.', {
        details: { tokenCellId },
      });
    if (this.mode === 'full')
      throw new PandoError('InsufficientInstanceCapacity', 'There is not enough capacity for now.');
    const count = Number(input.MinCount ?? 1);
    if (count > instancesPerRequestMax)
      throw new PandoError(
        'InstanceLimitExceeded',
        `You have requested more instances (${count}) than one may.`,
      );
    const made = Array.from({ length: count }, () => this.#make(accountId, token));
    this.instances.push(...made);
    return reservation(made);
  }

  #describe(accountId: string, input: Input): unknown {
    const filters = Array.isArray(input.Filters) ? input.Filters : [];
    const tokens: unknown = filters.find((filter) => filter.Name === 'client-token')?.Values;
    const ids = Array.isArray(input.InstanceIds) ? input.InstanceIds.map(String) : [];
    const found = ids.length > 0 ? this.#find(accountId, ids) : this.instances;
    const mine = found
      .filter((instance) => instance.accountId === accountId)
      .filter((instance) => !Array.isArray(tokens) || tokens.includes(instance.ClientToken))
      .sort((a, b) => (a.InstanceId < b.InstanceId ? -1 : 1));
    const page = readPage(input, { secret: 'cell', scope: accountId });
    const { items, nextToken } = cutPage(mine, page, (instance) => instance.InstanceId);
    return { Reservations: items.map((instance) => reservation([instance])), NextToken: nextToken };
  }

  #change(accountId: string, input: Input, state: FakeInstance['State']): unknown {
    return this.#find(accountId, input.InstanceIds as string[]).map((instance) => {
      const PreviousState = instance.State;
      instance.State = state;
      return { InstanceId: instance.InstanceId, CurrentState: state, PreviousState };
    });
  }

  #find(accountId: string, ids: readonly string[]): FakeInstance[] {
    return ids.map((id) => {
      const found = this.instances.find((i) => i.InstanceId === id && i.accountId === accountId);
      if (found === undefined)
        throw new PandoError('InvalidInstanceID.NotFound', `The instance ID '${id}' does not exist`);
      return found;
    });
  }

  #make(accountId: string, ClientToken: string): FakeInstance {
    const State = { Code: 0, Name: 'pending' };
    return { InstanceId: newCellId('instance', this.number), ClientToken, accountId, State };
  }
}

const reservation = (instances: readonly FakeInstance[]) => ({
  ReservationId: `r-${instances[0]?.InstanceId.slice(2)}`,
  OwnerId: instances[0]?.accountId,
  Groups: [],
  Instances: instances.map(({ InstanceId, State, ClientToken }) => ({
    InstanceId,
    State,
    ClientToken,
    InstanceType: 't3.nano',
    ImageId: 'ami-0123456789abcdef0',
    LaunchTime: '2026-01-02T03:04:05.000Z',
    PrivateIpAddress: '10.0.0.4',
    Placement: { AvailabilityZone: 'lab-1a', Tenancy: 'default' },
    SecurityGroups: [{ GroupId: 'sg-0123456789abcdef0', GroupName: 'default' }],
    Tags: [{ Key: 'Name', Value: 'web' }],
  })),
});
