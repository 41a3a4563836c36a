/** A region on a throw-away PostgreSQL, called without a network in between. */
import { mkdir, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { pino } from 'pino';
import { newCellId } from '#contracts/ids.ts';
import { createAccount, type NewAccount } from '#region/accounts.ts';
import { regionConfig } from '#region/config.ts';
import { openRegion, type Region } from '#region/region.ts';
import { regionTable } from '#region/resources/index.ts';
import { callHandler } from '#wire/actions.ts';
import { reviveInput, toTransport } from '#wire/transport.ts';
import type { In, KnownAction, Out, WireInput } from '#wire/types.ts';
import { startTestDatabase } from '../base/postgres/test-database.ts';

export const cellNumber = 0x0a1;

/** One account's way to call EC2 actions. */
export interface Client extends NewAccount {
  call<O extends KnownAction>(action: O, input: In<O>): Promise<Out<O>>;
  /** Makes an interface as a cell does for a launch. */
  launch(options?: {
    subnetId?: string;
    groupIds?: string[];
    privateIp?: string;
    publicIp?: boolean;
    instanceId?: string;
  }): Promise<{
    instanceId: string;
    vpcId: string;
    eniId: string;
    ip: string;
    publicIp: string | undefined;
  }>;
}

export interface TestRegion {
  readonly region: Region;
  readonly dir: string;
  account(name?: string): Promise<Client>;
  /** An account, by whichever process of the region it was made. */
  as(account: NewAccount): Client;
  stop(): Promise<void>;
}

let accounts = 0;

const clientOf = (region: Region, account: NewAccount): Client => {
  const { accountId } = account;
  // Untyped inside: the compiler would otherwise compare the inputs and outputs of all actions, for two minutes.
  const call: Client['call'] = async (action: KnownAction, input: unknown): Promise<never> => {
    // Through JSON and the schema, as a request travels from a router.
    const json: unknown = JSON.parse(JSON.stringify(toTransport(action, input as WireInput)));
    const context = { region, accountId, principal: `arn:aws:iam::${accountId}:root`, requestId: 'test' };
    const output: unknown = await callHandler(regionTable, action, reviveInput(action, json), context);
    return output as never;
  };
  const launch: Client['launch'] = async (options = {}) => {
    const { allocateInterface } = await import('#region/interfaces.ts');
    const instanceId = options.instanceId ?? newCellId('instance', cellNumber);
    const subnetId = options.subnetId ?? (await call('DescribeSubnets', {})).Subnets?.[0]?.SubnetId ?? '';
    const { vpcId, port } = await allocateInterface(region, {
      accountId,
      instanceId,
      subnetId,
      groupIds: options.groupIds ?? [],
      privateIp: options.privateIp,
      publicIp: options.publicIp ?? false,
    });
    return { instanceId, vpcId, eniId: port.eniId, ip: port.ip, publicIp: port.publicIp };
  };
  return { ...account, call, launch };
};

/** Settings that a test may change. */
export type Overrides = Partial<
  Record<
    | 'publicPool'
    | 'privateRestMs'
    | 'publicRestMs'
    | 'pushWaitMsMax'
    | 'limits'
    | 'sweepEveryMs'
    | 'sweepGraceMs',
    unknown
  >
>;

/** `beside`: another process of the same region, on its store and its files. It is stopped last. */
export const startTestRegion = async (
  overrides: Overrides = {},
  beside?: TestRegion,
): Promise<TestRegion> => {
  const dir = beside?.dir ?? (await mkdtemp(path.join(tmpdir(), 'pando-region-')));
  if (beside === undefined) await mkdir(path.join(dir, 'sources'));
  const database =
    beside === undefined
      ? await startTestDatabase()
      : { url: beside.region.config.databaseUrl, stop: async () => undefined };
  const config = regionConfig.parse({
    regionName: 'test-1',
    zones: [
      { name: 'test-1a', id: 't1-az1' },
      { name: 'test-1b', id: 't1-az2' },
    ],
    databaseUrl: database.url,
    listen: { host: '127.0.0.1', port: 0 },
    tls: { ca: '', cert: '', key: '' },
    publicPool: { cidr: '203.0.113.0/24', first: '203.0.113.16', last: '203.0.113.31' },
    imagesDir: path.join(dir, 'images'),
    imageSourceDirs: [path.join(dir, 'sources')],
    secretKeyFile: path.join(dir, 'seal.key'),
    privateRestMs: 0,
    publicRestMs: 0,
    pushWaitMsMax: 500,
    ...overrides,
  });
  const region = await openRegion(config, pino({ level: process.env.PANDO_LOG ?? 'silent' }));
  return {
    region,
    dir,
    account: async (name = `account-${accounts++}`) => clientOf(region, await createAccount(region, name)),
    as: (account) => clientOf(region, account),
    stop: async () => {
      await region.close();
      await database.stop();
      if (beside === undefined) await rm(dir, { recursive: true, force: true });
    },
  };
};
