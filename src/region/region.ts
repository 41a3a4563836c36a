/** The region as its handlers see it: store, settings, devices. Made once by `openRegion`. */

import { setTimeout as delay } from 'node:timers/promises';
import { sql } from 'kysely';
import type { Logger } from '#base/log.ts';
import { openDatabase } from '#base/postgres/database.ts';
import { storeFaultOf } from '#base/postgres/faults.ts';
import { fullAlarm } from '#base/postgres/fullAlarm.ts';
import { listenStore } from '#base/postgres/listen.ts';
import { migrate } from '#base/postgres/migrate.ts';
import { PandoError } from '#contracts/errors.ts';
import type { VpcState } from '#contracts/network.ts';
import { knowCells } from './cells.ts';
import type { RegionConfig } from './config.ts';
import { DeviceRelay } from './device-relay.ts';
import { type CellDevice, GatewayDevice, type Relay } from './devices.ts';
import { GroupRules } from './group-rules.ts';
import { type IdentityKey, loadIdentityKey } from './identity-key.ts';
import { ImageStore } from './images.ts';
import { InterfaceOwners } from './interface-owners.ts';
import { InterfaceSweeper } from './interface-sweep.ts';
import { regionMigrations } from './migrations.ts';
import { compileVpcState, type NetworkSettings } from './network-state.ts';
import { ObjectRecorder } from './object-recorder.ts';
import { fillPublicPool } from './public-pool.ts';
import { Pusher } from './push.ts';
import { Reconciler } from './reconciler.ts';
import { Replicas, replicasChannel } from './replicas.ts';
import { now, openRollouts, type Rollouts } from './rollouts/open.ts';
import type { Database, RegionSchema } from './schema.ts';
import { loadSealer, type Sealer } from './secrets.ts';
import { type StoreHealth, watchStore } from './store-health.ts';
import { Enforced } from './vpc-changes/enforced.ts';
import { VpcPartsCache } from './vpc-parts.ts';
import { VpcVersions } from './vpc-versions.ts';

export interface Region {
  readonly config: RegionConfig;
  readonly db: Database;
  readonly storeHealth: StoreHealth;
  readonly log: Logger;
  readonly sealer: Sealer;
  readonly network: NetworkSettings;
  /** Signs identity documents; absent: it cannot be opened. */
  readonly identityKey: IdentityKey | undefined;
  /** Signs the tokens of pages. */
  readonly pageSecret: string;
  /** The network state of a VPC as it is now; undefined: there is none. */
  compile(vpcId: string): Promise<VpcState | undefined>;
  readonly pusher: Pusher;
  /** When changes of tenants had reached every device. */
  readonly enforced: Enforced;
  readonly reconciler: Reconciler;
  readonly sweeper: InterfaceSweeper;
  /** Every cell that ever joined, connected or not. */
  readonly cells: Map<string, CellDevice>;
  readonly gateway: GatewayDevice;
  readonly vpcParts: VpcPartsCache;
  readonly vpcVersions: VpcVersions;
  readonly interfaceOwners: InterfaceOwners;
  readonly replicas: Replicas;
  /** The region's other processes, for devices that are connected to them. */
  readonly relay: Relay;
  readonly images: ImageStore;
  readonly rollouts: Rollouts;
  close(): Promise<void>;
}

const storeRetryMs = 500;

/** A store that is away at the start is waited for: a crash loop would help nobody. Other errors are thrown. */
const prepareStore = async (db: Database, config: RegionConfig, log: Logger): Promise<void> => {
  for (;;)
    try {
      await migrate(db, regionMigrations);
      await fillPublicPool(db, config.publicPool);
      return;
    } catch (error) {
      if (storeFaultOf(error) === undefined) throw error;
      log.warn({ err: error }, 'the store is not ready: trying again');
      await delay(storeRetryMs);
    }
};

/** Opens the store (bringing its schema up) and starts the reconciler. */
export const openRegion = async (config: RegionConfig, log: Logger): Promise<Region> => {
  const db = openDatabase<RegionSchema>({
    url: config.databaseUrl,
    poolMax: config.poolMax,
    name: 'region',
    onConnectionError: (error) => log.warn({ err: error }, 'a database connection was lost'),
    onFull: fullAlarm(log),
  });
  await prepareStore(db, config, log);
  const { publicDomainName = `${config.regionName}.compute.pando.internal` } = config;
  const network = {
    domainName: `${config.regionName}.compute.internal`,
    ...(publicDomainName === null ? {} : { publicDomainName }),
    dnsServers: config.dnsServers,
    mtu: config.vpcMtu,
  };
  const groupRules = new GroupRules();
  const compileRecorded = (vpcId: string) => compileVpcState(db, vpcId, network, groupRules);
  const compile = async (vpcId: string) => (await compileRecorded(vpcId))?.state;
  const parts = new VpcPartsCache();
  const recorder = new ObjectRecorder(db, log);
  const pusher = new Pusher({
    // Written down before anybody is told.
    compile: async (vpcId) => {
      const compiled = await versions.read(vpcId, () => compileRecorded(vpcId));
      if (compiled === undefined) return undefined;
      await recorder.record(parts.of(compiled.state), compiled.recorded);
      return compiled.state;
    },
    waitMsMax: config.pushWaitMsMax,
    onError: (err, what) => log.warn({ err }, what),
    onEnforced: (vpcId, version) => enforced.has(vpcId, version, now()),
  });
  const versions: VpcVersions = new VpcVersions({
    ...{ db, log, parts },
    forgetTold: (vpcId) => pusher.forgetVpc(vpcId),
    wake: (vpcId) =>
      void pusher.push(vpcId).catch((err: unknown) => log.warn({ err, vpcId }, 'devices were not told anew')),
  });
  const enforced = new Enforced({ db, log, pusher });
  enforced.start();
  const cells = new Map<string, CellDevice>();
  const know = (): Promise<void> =>
    knowCells(db, { cells, vpcParts: parts, pusher, relay, vpcVersions: versions });
  const replicas: Replicas = new Replicas({
    log,
    waitMsMax: config.pushWaitMsMax,
    notify: async (payload) => void (await sql`select pg_notify(${replicasChannel}, ${payload})`.execute(db)),
    connected: () => [gateway, ...cells.values()].flatMap(({ isHere, name }) => (isHere ? [name] : [])),
    push: (vpcId) => pusher.push(vpcId),
    onMissed: () => reconciler.wake(),
    onCall: (kind, from, callId) => calls.heard(kind, from, callId),
    onDevices: (names) => {
      const known = new Set([gateway.name, ...[...cells.values()].map(({ name }) => name)]);
      if (names.some((name) => !known.has(name)))
        know().catch((err: unknown) => log.warn({ err }, 'the cells of other processes were not read'));
    },
  });
  const serve = async (name: string, method: string, params: unknown): Promise<unknown> => {
    const device = [gateway, ...cells.values()].find((each) => each.name === name);
    if (device === undefined) throw new PandoError('HostUnreachable', `${name} is not known here.`);
    return device.serve(method, params);
  };
  const calls = new DeviceRelay({ db, log, replicas, serve });
  const relay: Relay = { tell: (device, vpcId, version) => replicas.tell(device, vpcId, version), calls };
  const gateway = new GatewayDevice(undefined, parts, relay, versions);
  pusher.add(gateway);
  await know();
  const reconciler = new Reconciler({
    db,
    pusher,
    everyMs: config.reconcileEveryMs,
    connected: () => [
      ...[...cells.values()]
        .filter((cell) => cell.connected > 0)
        .map((cell) => ({
          device: cell,
          want: (vpc: { cells: readonly number[] }) => vpc.cells.includes(cell.number),
        })),
      ...(gateway.connected
        ? [{ device: gateway, want: (vpc: { internetGateway: boolean }) => vpc.internetGateway }]
        : []),
    ],
    onError: (err) => log.warn({ err }, 'network state was not reconciled; the next pass tries again'),
  });
  const stopListening = listenStore({
    url: config.databaseUrl,
    channel: replicasChannel,
    name: 'region-listen',
    heard: (payload) => replicas.heard(payload),
    onConnectionError: (error) => log.debug({ err: error }, 'other processes of the region are not heard'),
  });
  replicas.start();
  const sealer = await loadSealer(config.secretKeyFile);
  const identityKey = await loadIdentityKey(db, sealer, config.regionName, log);
  const pageSecret = sealer.derive('pages');
  const images = new ImageStore({ dir: config.imagesDir, sources: config.imageSourceDirs });
  const sweeper = new InterfaceSweeper({ config, db, log, pusher, cells });
  const rollouts = await openRollouts({ db, cells, gateway, log, mtu: config.vpcMtu });
  const close = async (): Promise<void> => {
    await rollouts.stop();
    await enforced.stop();
    await reconciler.stop();
    await sweeper.stop();
    await replicas.stop();
    stopListening();
    await db.destroy();
  };
  const made = {
    config,
    db,
    log,
    sealer,
    network,
    identityKey,
    pageSecret,
    compile,
    pusher,
    enforced,
    reconciler,
    cells,
    gateway,
    images,
    vpcParts: parts,
    vpcVersions: versions,
    interfaceOwners: new InterfaceOwners(db),
    replicas,
    relay,
  };
  return { ...made, sweeper, rollouts, storeHealth: watchStore(db), close };
};
