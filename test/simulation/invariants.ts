/** What must hold: after each event, after each commit, and when everything has come to rest. */
import { cellNumberOf } from '#contracts/ids.ts';
import type { Cloud } from './cloud.ts';
import { Holds } from './holds.ts';
import * as names from './shape.ts';
import { partsOf } from './statements.ts';
import type { Committed, SimStore } from './store.ts';
import type { Owned } from './workload.ts';

/** Counters and limits against the sums of claims, and running VMs against what machines have. */
const overfullOf = (which: string): string => `
  select h.id from hosts h left join claims c on c.host_id = h.id ${which} group by h.id
  having coalesce(sum(c.vcpus_milli), 0) > h.limit_vcpus_milli or coalesce(sum(c.memory_mib), 0) > h.limit_memory_mib
    or coalesce(sum(c.disk_mib), 0) > h.capacity_disk_mib
    or (h.used_vcpus_milli, h.used_memory_mib, h.used_disk_mib, h.used_network_mbps) is distinct from
      (coalesce(sum(c.vcpus_milli), 0), coalesce(sum(c.memory_mib), 0), coalesce(sum(c.disk_mib), 0), coalesce(sum(c.network_mbps), 0))`;
const overfull = overfullOf('');
/** Transactions take turns, and one with savepoints has some numbers of its own: what the last one wrote is among this many. */
const recentTransactions = 8;
const overfullRecently = overfullOf(
  `where h.id in (select id from hosts where age(xmin) <= ${recentTransactions}
     union all select host_id from claims where age(xmin) <= ${recentTransactions})`,
);
/** A claim that is deleted leaves no row: should its host's counters not tell of it, a look at all hosts does. */
const allHostsEvery = 16;

export class Invariants {
  readonly #cloud: Cloud;
  readonly #tell: (what: string) => void;
  #toldGuests = 0;
  #toldCalls = 0;
  #toldUncaught = 0;
  #toldObeyed = 0;
  readonly #toldUnclaimed = new Set<string>();
  readonly #toldOverfull = new Set<string>();
  readonly holds: Holds;
  checks = 0;
  /** Whether the store of an instance's cell has forgotten something: then its hosts may have what it does not know of. */
  isForgetful: (instanceId: string) => boolean = () => false;

  constructor(cloud: Cloud, tell: (what: string) => void) {
    this.#cloud = cloud;
    this.#tell = tell;
    this.holds = new Holds(cloud.world, tell);
  }

  /** I1, I5, that no host obeys a former owner, and that no process would have died of an error. */
  afterEvent(): void {
    const { guests, obedience, world, parts } = this.#cloud;
    while (this.#toldObeyed < obedience.violations.length)
      this.#tell(`I1: ${obedience.violations[this.#toldObeyed++]}`);
    while (this.#toldGuests < guests.violations.length)
      this.#tell(`I1: ${guests.violations[this.#toldGuests++]}`);
    while (this.#toldCalls < parts.network.violations.length)
      this.#tell(parts.network.violations[this.#toldCalls++] ?? '');
    while (this.#toldUncaught < world.uncaught.length) {
      const one = world.uncaught[this.#toldUncaught++];
      const shown = one?.error instanceof Error ? one.error.stack : String(one?.error);
      this.#tell(`nobody caught an error in ${one?.process}: ${shown}`);
    }
  }

  /** I3: what is promised of a host never exceeds what it has, and its counters are the sums of the claims. I9: `Holds`. And who writes. */
  afterCommit({ store, by, statements }: Committed): void {
    if (store === names.regionStore) return;
    const parts = statements.map(partsOf);
    if (parts.some(({ moves }) => moves)) this.#checkMoved(store, by);
    if (parts.some(({ touchesHolds }) => touchesHolds))
      this.holds.afterCommit(store, (sql) => this.#look(store, sql));
    if (parts.some(({ releases }) => releases)) this.#checkUnclaimed(store);
    if (!parts.some(({ touchesCapacity }) => touchesCapacity)) return;
    this.checks++;
    const checked = this.checks % allHostsEvery === 0 ? overfull : overfullRecently;
    for (const [host = ''] of this.#look(store, checked)) {
      if (this.#toldOverfull.has(`${host}`)) continue;
      this.#toldOverfull.add(`${host}`);
      this.#tell(`I3: ${store}: claims on ${host} exceed it, or are not what its counters say`);
    }
  }

  /** Who has lost a workflow writes nothing more of it. Of transactions that take turns, the newest rows are the last one's. */
  #checkMoved(store: string, by: string): void {
    const moved = this.#look(
      store,
      `select id, owner from workflows where xmin::text::bigint = (select max(xmin::text::bigint) from workflows)`,
    );
    for (const [id, owner = ''] of moved)
      if (!owner?.startsWith(`${by}/`)) this.#tell(`I4: ${id} was moved on by ${by}, and is ${owner}'s`);
  }

  /** I1, I3: what a VM takes of its host is given back once it is gone from there, and no sooner. */
  #checkUnclaimed(store: string): void {
    const claimed = new Set(
      this.#look(
        store,
        `select holder || ' ' || host_id from claims where purpose in ('instance', 'migration')`,
      ).map(([key]) => key ?? ''),
    );
    for (const [name, { host }] of this.#cloud.machines) {
      if (names.cellStore(cellOfHost(name)) !== store) continue;
      for (const { instanceId, hasDisk, state } of host.vms.values()) {
        const key = `${instanceId} ${host.hostId}`;
        if (!hasDisk || claimed.has(key) || this.isForgetful(instanceId) || this.#toldUnclaimed.has(key))
          continue;
        this.#toldUnclaimed.add(key);
        this.#tell(`I1: ${instanceId} is ${state} on ${host.hostId}, and what it takes there was given back`);
      }
    }
  }

  #look(store: string, sql: string): readonly (string | null)[][] {
    return this.#store(store).look(sql);
  }

  #store(name: string): SimStore {
    const store = this.#cloud.parts.stores.get(name);
    if (store === undefined) throw new Error(`there is no ${name}`);
    return store;
  }

  /** Work that is not done yet. Empty: everything has come to rest. */
  unsettled(): string[] {
    const found: string[] = [];
    for (const cell of names.numbers(this.#cloud.parts.shape.cells)) {
      const store = this.#store(names.cellStore(cell));
      if (store.isBusy) return [`${store.name} is busy`];
      for (const [id, kind, subject, state, step] of store.look(
        `select id, kind, subject, state, coalesce(error ->> 'message', '') from workflows where state not in ('done', 'undone')`,
      ))
        found.push(`${store.name}: ${kind} ${id} of ${subject} is ${state} ${step}`);
      for (const [id, state] of store.look(
        `select id, state from instances where state in ('pending', 'stopping', 'shutting-down')`,
      ))
        found.push(`${store.name}: ${id} is ${state}`);
    }
    return found;
  }

  /** When everything has come to rest: rows, VMs, claims, interfaces and what clients were told must agree. */
  atRest(owned: readonly Owned[], isForgetful: (instanceId: string) => boolean): string[] {
    const found: string[] = [];
    const rows = this.#rows();
    const tokens = new Map<string, string>();
    for (const row of rows.values()) {
      if (isForgetful(row.id)) continue;
      found.push(...this.#wrongVms(row));
      const reservation = tokens.get(row.token) ?? row.reservation;
      tokens.set(row.token, reservation);
      if (reservation !== row.reservation)
        found.push(`I4: ${row.token} was carried out twice: ${reservation} and ${row.reservation}`);
    }
    for (const { id, may } of owned) {
      const row = rows.get(id);
      if (isForgetful(id)) continue;
      if (row === undefined) found.push(`I4: ${id} was acknowledged and has no row`);
      else if (![...may].some((state) => state === row.state))
        found.push(
          `I4: ${id} is ${row.state} (${row.reason}) and may be ${[...may].join(' or ')} by what was answered`,
        );
    }
    found.push(
      ...this.#strayVms(rows, isForgetful),
      ...this.#wrongClaims(),
      ...this.#strayInterfaces(rows, isForgetful),
    );
    return found;
  }

  #rows(): Map<string, Row> {
    const rows = new Map<string, Row>();
    for (const cell of names.numbers(this.#cloud.parts.shape.cells))
      for (const [id, state, host, token, reservation, reason] of this.#look(
        names.cellStore(cell),
        `select id, state, host_id, account_id || '/' || (spec ->> 'clientToken'), reservation_id, state_reason ->> 'Message' from instances order by id`,
      ))
        rows.set(id ?? '', {
          id: id ?? '',
          state: state ?? '',
          host: host ?? null,
          token: token ?? id ?? '',
          reservation: reservation ?? '',
          reason: reason ?? '',
        });
    return rows;
  }

  #hostsOf(instanceId: string): { readonly hostId: string; readonly state: string }[] {
    return [...this.#cloud.machines.values()].flatMap(({ host }) => {
      const vm = host.vms.get(instanceId);
      return vm === undefined ? [] : [{ hostId: host.hostId, state: vm.state }];
    });
  }

  #wrongVms({ id, state, host }: Row): string[] {
    const vms = this.#hostsOf(id);
    const running = vms.filter((vm) => vm.state === 'running' || vm.state === 'paused');
    const shown = vms.map((vm) => `${vm.state} on ${vm.hostId}`).join(', ') || 'nowhere';
    if (state === 'running' && (running.length !== 1 || running[0]?.hostId !== host))
      return [`${id} is running on ${host} by its row, and ${shown}`];
    if (state === 'stopped' && running.length > 0) return [`${id} is stopped by its row, and ${shown}`];
    if (state === 'terminated' && vms.length > 0) return [`${id} is terminated by its row, and ${shown}`];
    return vms.length > 1 ? [`${id} is left on two hosts: ${shown}`] : [];
  }

  #strayVms(rows: ReadonlyMap<string, Row>, isForgetful: (id: string) => boolean): string[] {
    return [...this.#cloud.machines.values()].flatMap(({ host }) =>
      [...host.vms.values()]
        .filter((vm) => !rows.has(vm.instanceId) && !isForgetful(vm.instanceId))
        .map((vm) => `${vm.instanceId} is ${vm.state} on ${host.hostId} and has no row`),
    );
  }

  #wrongClaims(): string[] {
    return names.numbers(this.#cloud.parts.shape.cells).flatMap((cell) => {
      const store = names.cellStore(cell);
      const wrong = this.#look(
        store,
        `select 'no instance for ' || c.id from claims c where purpose in ('instance', 'migration')
           and not exists (select 1 from instances i where i.id = c.holder and i.host_id is not null)
         union all
         select 'no claim for ' || i.id from instances i where host_id is not null and state in ('running', 'stopped')
           and not exists (select 1 from claims c where c.id = 'instance/' || i.id and c.host_id = i.host_id)
         union all
         select 'a claim of a migration that is over: ' || id from claims where purpose = 'migration'
         union all
         select 'counters of ' || id from (${overfull}) o`,
      );
      return wrong.map(([what]) => `${store}: ${what}`);
    });
  }

  #strayInterfaces(rows: ReadonlyMap<string, Row>, isForgetful: (id: string) => boolean): string[] {
    return this.#look(
      names.regionStore,
      'select eni_id, instance_id from eni where instance_id is not null',
    ).flatMap(([eni, instance]) => {
      const row = rows.get(instance ?? '');
      if (isForgetful(instance ?? '') || (row !== undefined && row.state !== 'terminated')) return [];
      return [`${eni} is left of ${instance} (${row?.state ?? 'no row'})`];
    });
  }
}

interface Row {
  readonly id: string;
  readonly state: string;
  readonly host: string | null;
  readonly token: string;
  readonly reservation: string;
  readonly reason: string;
}

/** Machines are named `c2-h7`. */
const cellOfHost = (name: string): number => Number(/^c(\d+)-/.exec(name)?.[1] ?? 0);

export const cellOf = (instanceId: string): number | undefined => cellNumberOf(instanceId);
