/** What every run begins with: engines, certificates, and stores with a schema, an image and accounts in them. Made once a process. */
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { idKinds } from '#contracts/ids.ts';
import { imageManifest } from '#contracts/image-manifest.ts';
import { createAccount, ensureSystemAccount, type NewAccount, systemAccountId } from '#region/accounts.ts';
import type { Region } from '#region/region.ts';
import { imageColumns } from '#region/resources/images.ts';
import { writeSimulatedImage } from '#simulated/image.ts';
import { type Certificates, issueAll } from './certificates.ts';
import { Cloud } from './cloud.ts';
import { Engine } from './engine.ts';
import { Network } from './network.ts';
import { answerIn, queryOf } from './protocol.ts';
import { install } from './runtime.ts';
import * as names from './shape.ts';
import { simulate } from './simulate.ts';
import { SimStore, type StoreImage } from './store.ts';
import type { Dump } from './storeDump.ts';
import { World } from './world.ts';

const setUpMs = 120_000;
/** Rows are written before the time at which runs begin. */
const setUpFromMs = -5 * setUpMs;
const setUpSeed = 1;
const warmUpMs = 3_000;
const warmUpClients = 4;

export interface Template {
  readonly shape: names.Shape;
  /** Without an image: as it is. */
  readonly stores: ReadonlyMap<string, { readonly engine: Engine; readonly image: StoreImage | undefined }>;
  readonly certificates: Certificates;
  readonly accounts: readonly NewAccount[];
  readonly imageId: string;
  readonly directory: string;
  close(): Promise<void>;
}

/** The engine keeps a store of real randomness, and what it draws would not come from the seed. Found first, this is what columns default to. */
const seededUuid = `
  create sequence simulated_uuid;
  create function public.gen_random_uuid() returns uuid language sql volatile
    as $body$ select md5('uuid ' || nextval('public.simulated_uuid')::text)::uuid $body$`;
const settings = [
  "timezone = 'UTC'",
  'plan_cache_mode = force_generic_plan',
  'search_path = public, pg_catalog',
];

const prepared = (engine: Engine): Engine => {
  for (const setting of settings) ask(engine, `set ${setting}`);
  return engine;
};

const ask = (engine: Engine, sql: string): void => {
  const { error } = answerIn(engine.ask(queryOf(sql)));
  if (error !== undefined) throw new Error(error);
};

/** Of the first engine of this process, when it was made. */
let firstFiles: Blob | undefined;

/** One is made, the others are its copies, which is sooner done. */
const makeEngine = async (): Promise<Engine> => {
  if (firstFiles !== undefined) return prepared(await Engine.create(firstFiles));
  const engine = prepared(await Engine.create());
  ask(engine, seededUuid);
  firstFiles = await engine.files();
  return engine;
};

const makeEngines = async (stores: readonly string[]): Promise<Map<string, Engine>> => {
  const engines = new Map<string, Engine>();
  for (const name of stores) engines.set(name, await makeEngine());
  return engines;
};

const makeCold = async (
  shape: names.Shape,
): Promise<{ readonly template: Template; readonly dumps: ReadonlyMap<string, Dump> }> => {
  const directory = mkdtempSync(join(tmpdir(), 'pando-simulation-'));
  mkdirSync(join(directory, 'images'));
  // Always the same key: what is sealed is part of what is compared.
  writeFileSync(join(directory, 'seal.key'), Buffer.alloc(32, 7), { mode: 0o600 });
  const certificates = await issueAll(shape, directory);
  const manifest = imageManifest.parse(
    JSON.parse(readFileSync(join(await writeSimulatedImage(directory), 'manifest.json'), 'utf8')),
  );
  const stores = [names.regionStore, ...names.numbers(shape.cells).map(names.cellStore)];
  const engines = await makeEngines(stores);
  const world = new World(setUpSeed);
  world.nowMs = setUpFromMs;
  const network = new Network(world);
  const made = new Map([...engines].map(([name, engine]) => [name, new SimStore(name, engine, network)]));
  const cloud = new Cloud({
    world,
    network,
    stores: made,
    certificates,
    shape: { ...shape, routers: 0 },
    directory,
  });
  const uninstall = install(world, network);
  try {
    for (const name of stores) cloud.start(name);
    await world.run(10);
    const region = await openFirst(world, cloud, made.get(names.regionStore));
    const accounts: NewAccount[] = [];
    for (const number of names.numbers(shape.accounts))
      accounts.push(
        await world.finish(regionOf(cloud), () => createAccount(region, `account-${number}`), setUpMs),
      );
    const imageId = await world.finish(regionOf(cloud), () => addImage(region, manifest), setUpMs);
    for (const cell of names.numbers(shape.cells)) cloud.start(names.processorName(cell, 1));
    await world.run(world.nowMs + setUpMs, () => cloud.cells.size === shape.cells);
    await registerHosts(world, cloud);
    for (const name of names.processNames(shape)) cloud.kill(name);
    await world.run(world.nowMs + 100);
    for (const cell of names.numbers(shape.cells))
      made.get(names.cellStore(cell))?.look('delete from processors');
    const dumps = new Map([...made].map(([name, store]) => [name, store.dump()]));
    const close = async (): Promise<void> => {
      for (const engine of engines.values()) await engine.close();
      rmSync(directory, { recursive: true, force: true });
    };
    return {
      dumps,
      template: { shape, stores: asTheyAre(engines), certificates, accounts, imageId, directory, close },
    };
  } finally {
    uninstall();
  }
};

/** A region that has been at work knows its hosts: that they come for the first time is no part of a run. */
const registerHosts = async (world: World, cloud: Cloud): Promise<void> => {
  const { shape } = cloud.parts;
  for (const cell of names.numbers(shape.cells))
    for (const host of names.numbers(shape.hostsPerCell)) cloud.start(names.hostName(cell, host));
  const areThere = (): boolean =>
    [...cloud.cells.values()].every(({ services }) => services.hosts.size === shape.hostsPerCell);
  if (!(await world.run(world.nowMs + setUpMs, areThere))) throw trouble(world);
  const isDevices = `select 1 from fleet_device having count(*) = ${shape.cells * shape.hostsPerCell}`;
  const store = cloud.parts.stores.get(names.regionStore);
  const areDevices = (): boolean => store?.isBusy === false && store.look(isDevices).length > 0;
  if (!(await world.run(world.nowMs + setUpMs, areDevices))) throw trouble(world);
};

const asTheyAre = (engines: ReadonlyMap<string, Engine>): Template['stores'] =>
  new Map([...engines].map(([name, engine]) => [name, { engine, image: undefined }]));

const kept = (
  engines: ReadonlyMap<string, Engine>,
  stores: ReadonlyMap<string, SimStore>,
): Template['stores'] =>
  new Map(
    [...engines].flatMap(([name, engine]) => {
      const store = stores.get(name);
      return store === undefined ? [] : [[name, { engine, image: store.image() }] as const];
    }),
  );

/** After a run of a fixed seed the engines have planned most statements; their rows are put back. */
export const makeTemplate = async (shape: names.Shape): Promise<Template> => {
  const { dumps, template } = await makeCold(shape);
  const engines = new Map([...template.stores].map(([name, { engine }]) => [name, engine]));
  let warm = template.stores;
  await simulate({
    ...{ template, seed: setUpSeed, workMs: warmUpMs, clients: warmUpClients, faults: [] },
    atEnd: (stores) => {
      for (const [name, store] of stores) {
        const dump = dumps.get(name);
        if (dump !== undefined) store.refill(dump);
      }
      warm = kept(engines, stores);
    },
  });
  return { ...template, stores: warm };
};

const trouble = (world: World): Error =>
  new Error(
    `the region did not come up: ${world.uncaught.map(({ error }) => String(error)).join()}\n${world.trace.tail(40).join('\n')}`,
  );

/** The region is started once to make its schema, and again beside a key that cannot be opened: none of RSA's comes from a seed. */
const openFirst = async (world: World, cloud: Cloud, store: SimStore | undefined): Promise<Region> => {
  const hasTable = (): boolean =>
    store?.isBusy === false &&
    store?.look("select to_regclass('identity_key')::text")[0]?.[0] === 'identity_key';
  cloud.start(names.regionProcess);
  if (!(await world.run(world.nowMs + setUpMs, hasTable))) throw trouble(world);
  cloud.kill(names.regionProcess);
  await world.run(world.nowMs + 100);
  store?.look(
    "insert into identity_key (certificate, sealed_key) values ('none', '\\x00') on conflict do nothing",
  );
  cloud.start(names.regionProcess);
  await world.run(world.nowMs + setUpMs, () => cloud.region !== undefined);
  if (cloud.region === undefined) throw trouble(world);
  return cloud.region;
};

const regionOf = (cloud: Cloud) => {
  const process = cloud.processes.get(names.regionProcess);
  if (process === undefined) throw new Error('there is no region');
  return process;
};

/** As an operator's registration of a public image leaves it. */
const addImage = async (
  region: Region,
  manifest: ReturnType<typeof imageManifest.parse>,
): Promise<string> => {
  const imageId = `${idKinds.image.prefix}-${manifest.digest.slice(0, 17)}`;
  await region.db.transaction().execute(async (tx) => {
    await ensureSystemAccount(tx);
    await tx
      .insertInto('image')
      .values({
        ...{
          image_id: imageId,
          account_id: systemAccountId,
          name: 'pando-simulated',
          description: manifest.description,
        },
        ...{ location: 'nowhere', is_public: true, root_device_name: '/dev/vda', imds_support: 'v2.0' },
        ...imageColumns(manifest),
      })
      .execute();
  });
  return imageId;
};
