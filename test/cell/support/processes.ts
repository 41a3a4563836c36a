/**
 * A cell as processes: two real request processors over one PostgreSQL, simulated hosts that dial both over mutual TLS, a region in
 * memory behind a real server. Every call of a processor passes a gate of the test's, by the processor's name.
 */
import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseIdentity, type TlsMaterial } from '#base/identity.ts';
import { type Authority, createAuthority, issueCertificate } from '#base/pki.ts';
import { openAccess } from '#base/rpc/access.ts';
import { RpcClient } from '#base/rpc/client.ts';
import type { CallContext, Handlers } from '#base/rpc/contract.ts';
import { type RpcServer, serveRpc } from '#base/rpc/server.ts';
import type { RpcStream } from '#base/rpc/stream.ts';
import { hostAccess } from '#contracts/access.ts';
import { backendContract } from '#contracts/backend.ts';
import { capacityContract } from '#contracts/capacity.ts';
import { cellOperatorContract } from '#contracts/cell-operator.ts';
import { hostContract, hostEventsContract } from '#contracts/host.ts';
import { cellPushContract, regionContract } from '#contracts/region.ts';
import { SimHost } from '#simhost/sim-host.ts';
import { SimWorld } from '#simhost/world.ts';
import { startTestDatabase, type TestDatabase } from '../../base/postgres/test-database.ts';
import { freePort } from '../../support/freePort.ts';
import { FakeRegion } from './fake-region.ts';
import { accountId, until, zone } from './harness.ts';

/** Patience alone: two processes load their code, on a machine that runs other files too. */
const readyMsMax = 90_000;
const entry = fileURLToPath(new URL('../../../src/cell/main.ts', import.meta.url));

const routerContract = { ...backendContract, ...capacityContract };

/** Called with each call of a processor before it is carried out; the answer to it waits. `params` as they came. */
export type Gate = (processor: string, method: string, params: unknown) => Promise<void> | void;
/** Told how each call ended: `ok` or a code. */
export type Witness = (processor: string, method: string, params: unknown, code: string) => void;

type AnyHandler = (params: unknown, context: CallContext) => unknown;

export class CellProcesses {
  readonly region = new FakeRegion({ zone });
  readonly world = new SimWorld();
  readonly hosts: SimHost[] = [];
  readonly children = new Map<string, ChildProcess>();
  readonly #ports = new Map<string, number>();
  readonly #routers = new Map<string, RpcClient<Record<never, never>, typeof routerContract>>();
  readonly #operators = new Map<string, RpcClient<Record<never, never>, typeof cellOperatorContract>>();
  readonly #clients: { close(): void }[] = [];
  readonly #dir: string;
  readonly #database: TestDatabase;
  readonly #authority: Authority;
  #regionServer: RpcServer | undefined;
  gate: Gate = () => undefined;
  witness: Witness = () => undefined;

  private constructor(dir: string, database: TestDatabase, authority: Authority) {
    this.#dir = dir;
    this.#database = database;
    this.#authority = authority;
  }

  static async start(
    names: readonly string[],
    hosts: number,
    capacity?: SimHost['capacity'],
  ): Promise<CellProcesses> {
    const dir = await mkdtemp(join(tmpdir(), 'pando-cell-'));
    const cell = new CellProcesses(dir, await startTestDatabase(), await createAuthority('test'));
    try {
      await cell.#begin(names, hosts, capacity);
    } catch (error) {
      // Nobody else knows of it: its processes would keep the test file from ending.
      await cell.stop();
      throw error;
    }
    return cell;
  }

  async #begin(
    names: readonly string[],
    hosts: number,
    capacity: SimHost['capacity'] | undefined,
  ): Promise<void> {
    await this.#serveRegion();
    const routerTls = await this.#issue('router', 'r');
    const operatorTls = await this.#issue('operator', 'o');
    for (const name of names) {
      this.#ports.set(name, await freePort());
      await this.startProcessor(name);
      this.#routers.set(name, this.#client(routerTls, name, routerContract));
      this.#operators.set(name, this.#client(operatorTls, name, cellOperatorContract));
    }
    for (let number = 1; number <= hosts; number++) {
      const latencyMs = (): number => 5;
      const vtep = `198.18.1.${10 + number}`;
      const host = new SimHost({
        hostId: `h-${number}`,
        zone,
        vtep,
        world: this.world,
        latencyMs,
        copyMs: 50,
        ...(capacity === undefined ? {} : { capacity }),
      });
      this.hosts.push(host);
      for (const name of names) await this.#dial(host, name);
    }
    for (const name of names) await this.ready(name);
  }

  #issue(role: string, name: string): Promise<TlsMaterial> {
    return issueCertificate(this.#authority, `spiffe://pando/${role}/${name}`);
  }

  #client<Remote extends typeof routerContract | typeof cellOperatorContract>(
    tls: TlsMaterial,
    name: string,
    remote: Remote,
  ) {
    const port = this.#ports.get(name) ?? 0;
    const expect = `spiffe://pando/cell/${name}`;
    const client = new RpcClient({
      tls,
      host: '127.0.0.1',
      port,
      expect,
      remote,
      contract: {},
      handlers: {},
    });
    this.#clients.push(client);
    return client;
  }

  /** Every handler behind the gate. */
  #gated<H extends object>(processor: string | undefined, handlers: H): H {
    const gated = Object.entries(handlers).map(([method, handler]) => {
      const behind: AnyHandler = async (params, context) => {
        const name = processor ?? parseIdentity(context.peer)?.name ?? '';
        const called = method === 'card.call' ? (params as { method: string }).method : method;
        await this.gate(name, called, params);
        try {
          const result = await (handler as AnyHandler)(params, context);
          this.witness(name, called, params, 'ok');
          return result;
        } catch (error) {
          const code = error instanceof Error && 'code' in error ? String(error.code) : 'error';
          this.witness(name, called, params, code);
          throw error;
        }
      };
      return [method, behind];
    });
    // The same methods with the same parameters and results.
    return Object.fromEntries(gated) as H;
  }

  async #serveRegion(): Promise<void> {
    const { region } = this;
    const streams = new Set<RpcStream<typeof regionContract, typeof cellPushContract>>();
    const handlers: Handlers<typeof regionContract> = {
      'region.joinCell': () => ({ region: 'test-1' }),
      'region.resolveLaunch': (params) => region.call('region.resolveLaunch', params),
      'region.allocateInterface': (params) => region.call('region.allocateInterface', params),
      'region.placeInterface': (params) => region.call('region.placeInterface', params),
      'region.releaseInterface': (params) => region.call('region.releaseInterface', params),
      'region.vpcState': (params) => region.call('region.vpcState', params),
      'region.pushVpc': (params) => region.call('region.pushVpc', params),
      'region.vpcParts': (params) => region.call('region.vpcParts', params),
      'region.interfaces': (params) => region.call('region.interfaces', params),
    };
    this.#regionServer = await serveRpc({
      tls: await this.#issue('region', 'region'),
      host: '127.0.0.1',
      port: 0,
      contract: regionContract,
      access: openAccess(regionContract),
      remote: cellPushContract,
      authorize: () => true,
      handlers: (stream) => {
        streams.add(stream);
        return this.#gated(undefined, handlers);
      },
      onClose: (stream) => streams.delete(stream),
    });
    // As the real one does: any one processor of the cell is told; one that is slow does not hold the others up.
    region.push = async (state) => {
      const told = [...streams].map((stream) =>
        stream.call('cell.applyVpc', { state }, { timeoutMs: 2_000 }),
      );
      await Promise.any(told).catch(() => undefined);
    };
  }

  async startProcessor(name: string): Promise<void> {
    const tls = await this.#issue('cell', name);
    const files = { ca: 'ca.pem', cert: `${name}.pem`, key: `${name}.key` };
    const paths = { ca: '', cert: '', key: '' };
    for (const part of ['ca', 'cert', 'key'] as const) {
      paths[part] = join(this.#dir, files[part]);
      await writeFile(paths[part], tls[part]);
    }
    const config = join(this.#dir, `${name}.json`);
    const settings = {
      ...{ name, cellId: 'cell-1', cellNumber: 1, zone, databaseUrl: this.#database.url, tls: paths },
      listen: { host: '127.0.0.1', port: this.#ports.get(name) },
      region: { host: '127.0.0.1', port: this.#regionServer?.port },
    };
    await writeFile(config, JSON.stringify(settings));
    const log = process.env.PANDO_LOG;
    const child = spawn(process.execPath, [entry, '--config', config], {
      stdio: ['ignore', log === undefined ? 'ignore' : 'inherit', 'inherit'],
      env: { ...process.env, PANDO_LOG: log ?? 'silent' },
    });
    this.children.set(name, child);
  }

  /** A host dials each processor, says hello and reports. */
  async #dial(host: SimHost, name: string): Promise<void> {
    const client = new RpcClient({
      tls: await this.#issue('agent', host.hostId),
      host: '127.0.0.1',
      port: this.#ports.get(name) ?? 0,
      expect: `spiffe://pando/cell/${name}`,
      remote: hostEventsContract,
      contract: hostContract,
      access: hostAccess,
      handlers: this.#gated(name, host.handlers),
      onConnect: async (stream) => {
        await stream.call('host.hello', host.hello());
      },
    });
    const report = (): void => void client.call('host.report', host.report()).catch(() => undefined);
    const timer = setInterval(report, 500);
    this.#clients.push(client, { close: () => clearInterval(timer) });
  }

  /** Resolves when the processor has all its hosts. */
  async ready(name: string): Promise<void> {
    const router = this.#routers.get(name);
    const wanted = `${this.hosts.length} hosts`;
    const health = () => router?.call('process.health', {}, { timeoutMs: 2_000 }).catch(() => undefined);
    await until(
      `${name} has its hosts`,
      async () => (await health())?.detail?.startsWith(wanted) === true,
      readyMsMax,
    );
  }

  /** One that waits for capacity: what clients ask about it. */
  async capacityCall(name: string, action: string, input: object): Promise<Record<string, unknown>> {
    const client = this.#routers.get(name);
    assert.ok(client);
    const params = { requestId: 'r', accountId, principal: 'arn:test', action, input };
    return (await client.call('capacity.call', params, { timeoutMs: 10_000 })).output as Record<
      string,
      unknown
    >;
  }

  get databaseUrl(): string {
    return this.#database.url;
  }

  async call(
    name: string,
    action: string,
    input: object,
    offerId?: string,
  ): Promise<Record<string, unknown>> {
    const client = this.#routers.get(name);
    assert.ok(client);
    const params = {
      ...{ requestId: 'r', accountId, principal: 'arn:test', action, input },
      ...(offerId === undefined ? {} : { offerId }),
    };
    return (await client.call('ec2.call', params, { timeoutMs: 10_000 })).output as Record<string, unknown>;
  }

  operator(name: string): RpcClient<Record<never, never>, typeof cellOperatorContract> {
    const client = this.#operators.get(name);
    assert.ok(client);
    return client;
  }

  async stop(): Promise<void> {
    for (const client of this.#clients) client.close();
    // A stopped process takes no other signal.
    for (const child of this.children.values()) child.kill('SIGKILL');
    await this.#regionServer?.close();
    await this.#database.stop();
    await rm(this.#dir, { recursive: true, force: true });
  }
}
