/**
 * The fault matrix, whatever the hosts below it are: a workflow × every step × {fail before, fail after, crash before, crash
 * after, repeat}. After each case: a clear state, one place (I1), nothing oversold (I3), nothing left over.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { beginRecovery } from '#cell/lifecycle.ts';
import { recoveryTriesMax } from '#cell/limits.ts';
import { migrationHostOf } from '#cell/store/claims.ts';
import type { HostRow } from '#cell/store/hosts.ts';
import { findInstance, type InstanceRow, lockInstances } from '#cell/store/instances.ts';
import type { Faults } from '#cell/workflow/faults.ts';
import { workflowDefinitions } from '#cell/workflows/index.ts';
import { PandoError } from '#contracts/errors.ts';
import type { FakeRegion } from './fake-region.ts';
import { ec2, type ProcessorOptions, type TestProcessor, until } from './harness.ts';
import { type Mode, modes, OrderedFaults } from './ordered-faults.ts';

export const lease = { leaseTtlMs: 900, leaseRenewEveryMs: 60 };
/**
 * Of a processor that is to fail: on a machine that stands still for a moment it is not taken for dead, which would move the workflow away
 * from its fault. The time of its lease is over when it dies: `kill`.
 */
export const doomedLease = { leaseTtlMs: 120_000, leaseRenewEveryMs: 60 };

/** Of the time of a lease that is to be over: a renewal may be on its way, however slow the machine is. */
const lapsesMin = 10;
const lapsesMax = 600;

/** Kills a processor, and lets its lease's time be over, until all that it had is another's. */
export const kill = (doomed: TestProcessor, survivor: TestProcessor): void => {
  doomed.kill();
  const { db } = survivor.cell.services;
  const { owner } = doomed.cell;
  const ownsAny = async (): Promise<boolean> =>
    (await db.query(`select 1 from workflows where owner = $1 and state not in ('done', 'undone')`, [owner]))
      .length > 0;
  const lapse = async (): Promise<void> => {
    for (let time = 0; time < lapsesMin || ((await ownsAny()) && time < lapsesMax); time++) {
      await db.query("update processors set lease_until = now() - interval '1 second' where owner = $1", [
        owner,
      ]);
      await delay(lease.leaseRenewEveryMs);
    }
  };
  // The survivor may end before.
  lapse().catch(() => undefined);
};

export const forever = 1_000_000;

export type Kind = 'launch' | 'start' | 'recover' | 'stop' | 'reboot' | 'terminate' | 'migrate';

export interface Order {
  readonly kind: Kind;
  arrange(faults: OrderedFaults, kill: () => void): void;
  readonly point: string;
  /** How the workflow must end. */
  readonly ends: 'done' | 'undone';
  /** Of the processor that has the faults. */
  readonly processor?: ProcessorOptions;
}

/** What lies below the cell, and what can be seen of it. */
export interface Ground {
  readonly region: FakeRegion;
  /** Without faults, connected to all hosts: it finishes what the other leaves. */
  readonly survivor: TestProcessor;
  readonly instanceType: string;
  /** How long a workflow may take to end, its repair by another processor included. */
  readonly settleMsMax: number;
  /** Another processor, connected to all hosts. */
  addProcessor(faults: Faults, more?: ProcessorOptions): Promise<TestProcessor>;
  /** Fails unless the hosts have of this instance what the row says. */
  assertPlaced(row: InstanceRow): Promise<void>;
  /** Fails unless the hosts have nothing of any instance. */
  assertNothingLeft(): Promise<void>;
  /** Ends the instance's VMM without a word. */
  killVmm(instanceId: string): Promise<void>;
  /** VMs that were started by all hosts so far. */
  launches(): number;
}

const finalState: Record<Kind, Record<Order['ends'], string>> = {
  launch: { done: 'running', undone: 'terminated' },
  start: { done: 'running', undone: 'stopped' },
  recover: { done: 'running', undone: 'stopped' },
  stop: { done: 'stopped', undone: 'stopped' },
  reboot: { done: 'running', undone: 'running' },
  terminate: { done: 'terminated', undone: 'terminated' },
  migrate: { done: 'running', undone: 'running' },
};

export class FaultMatrix {
  readonly #ground: Ground;
  #cases = 0;

  constructor(ground: Ground) {
    this.#ground = ground;
  }

  async #row(id: string): Promise<InstanceRow> {
    const found = await findInstance(this.#ground.survivor.cell.services.db, id);
    assert.ok(found, `${id} has a row`);
    return found;
  }

  #settled(id: string, state: string): Promise<InstanceRow> {
    return until(
      `${id} ${state}`,
      async () => {
        const found = await this.#row(id);
        return found.state === state && found.workflow_id === null && found;
      },
      this.#ground.settleMsMax,
    );
  }

  async #launch(by: TestProcessor, token: string): Promise<string> {
    const output = await ec2(by.cell, 'RunInstances', {
      ImageId: this.#ground.region.imageId,
      InstanceType: this.#ground.instanceType,
      MinCount: 1,
      MaxCount: 1,
      ClientToken: token,
    });
    const [instance] = output.Instances as { InstanceId: string }[];
    assert.ok(instance);
    return instance.InstanceId;
  }

  /** An instance in the state from which this workflow begins, made by the survivor. */
  async #prepare(kind: Kind, token: string): Promise<string> {
    const { survivor } = this.#ground;
    const id = await this.#launch(survivor, token);
    await this.#settled(id, 'running');
    if (kind === 'start') {
      await ec2(survivor.cell, 'StopInstances', { InstanceIds: [id] });
      await this.#settled(id, 'stopped');
    }
    return id;
  }

  /** The row's own facts, the region's, and the hosts'. */
  async #assertPlaced(id: string): Promise<void> {
    const { region } = this.#ground;
    const found = await this.#row(id);
    assert.equal(await migrationHostOf(this.#ground.survivor.cell.services.db, id), undefined);
    assert.equal(found.locked, false);
    if (found.state === 'stopped') assert.equal(region.interfaces.get(id)?.vtep, undefined);
    assert.ok((region.allocations.get(id) ?? 0) <= 1, 'one interface at most');
    const [host] = await this.#hostRows(found.host_id);
    if (found.state === 'running')
      assert.deepEqual(
        [host?.used_vcpus_milli, host?.used_memory_mib, host?.used_disk_mib],
        [found.vcpus_milli, found.memory_mib, found.disk_mib],
        'its host shows what it uses',
      );
    await this.#ground.assertPlaced(found);
  }

  /** Of one host, or of all. */
  #hostRows(hostId: string | null): Promise<HostRow[]> {
    const { db } = this.#ground.survivor.cell.services;
    return db.query<HostRow>('select * from hosts where $1::text is null or id = $1', [hostId]);
  }

  async #assertNothingLeft(): Promise<void> {
    const { region } = this.#ground;
    for (const host of await this.#hostRows(null))
      assert.deepEqual(
        [host.used_vcpus_milli, host.used_memory_mib, host.used_disk_mib],
        [0, 0, 0],
        `${host.id} holds nothing`,
      );
    const { db } = this.#ground.survivor.cell.services;
    assert.deepEqual(await db.query('select * from claims'), [], 'nothing is claimed');
    assert.equal(region.interfaces.size, 0);
    await this.#ground.assertNothingLeft();
  }

  /** Begins the order's workflow at the faulty processor and answers its instance; the answer to the call may never come. */
  async #provoke(order: Order, faulty: TestProcessor, faults: OrderedFaults): Promise<string> {
    const token = `case-${this.#cases++}`;
    const reached = (): Promise<unknown> =>
      until('the fault', () => faults.reached.has(order.point), this.#ground.settleMsMax);
    if (order.kind === 'launch') {
      await Promise.race([this.#launch(faulty, token), reached()]);
      // The same token asks again.
      return this.#launch(this.#ground.survivor, token).catch((error: unknown) => this.#undone(error, token));
    }
    const id = await this.#prepare(order.kind, token);
    const begun = order.kind === 'recover' ? this.#recover(faulty, id) : begin(order.kind, faulty, id);
    await Promise.race([begun, reached()]);
    return id;
  }

  /** The instance of a launch that was undone before its token asked again. */
  async #undone(error: unknown, token: string): Promise<string> {
    if (PandoError.from(error).code !== 'IdempotentInstanceTerminated') throw error;
    const [instance] = await this.#ground.survivor.cell.services.db.query<{ id: string }>(
      'select i.id from instances i join client_tokens t using (reservation_id) where t.token = $1',
      [token],
    );
    assert.ok(instance);
    return instance.id;
  }

  /** The last try to recover the instance, by the faulty processor: its VMM dies while the row is locked, so that no other one sees it first. */
  async #recover({ cell }: TestProcessor, id: string): Promise<void> {
    const { db, clock } = cell.services;
    const { workflows } = await db.transaction(async (tx) => {
      const [row] = await lockInstances(tx, undefined, [id]);
      assert.ok(row);
      await this.#ground.killVmm(id);
      const recovery = { tries: recoveryTriesMax, lastAt: new Date(clock.now()).toISOString() };
      return beginRecovery(cell, tx, row, recovery);
    });
    cell.engine.start(workflows);
  }

  async runCase(order: Order): Promise<void> {
    const ground = this.#ground;
    const faults = new OrderedFaults();
    const faulty = await ground.addProcessor(faults, order.processor);
    order.arrange(faults, () => kill(faulty, ground.survivor));
    const launched = ground.launches();
    let id: string | undefined;
    try {
      id = await this.#provoke(order, faulty, faults);
      await until(`${order.point} is reached`, () => faults.reached.has(order.point), ground.settleMsMax);
      if (order.kind === 'reboot') await until('no workflow', () => this.#workflowsGone());
      const state = finalState[order.kind][order.ends];
      await this.#settled(id, state);
      await this.#assertPlaced(id);
      if (order.kind === 'launch' && order.ends === 'done')
        assert.equal(ground.launches() - launched, 1, 'launched once');
      await faulty.stop();
      if (state !== 'terminated') await this.#terminate(id);
      await this.#assertPlaced(id);
      await this.#assertNothingLeft();
    } catch (error) {
      // So that one failing case does not make the ones after it fail.
      await faulty.stop();
      if (id !== undefined) await this.#terminate(id).catch(() => undefined);
      throw error;
    } finally {
      await faulty.stop();
    }
  }

  async #terminate(id: string): Promise<void> {
    await ec2(this.#ground.survivor.cell, 'TerminateInstances', { InstanceIds: [id] });
    await this.#settled(id, 'terminated');
  }

  async #workflowsGone(): Promise<boolean> {
    const rows = await this.#ground.survivor.cell.services.db.query(
      "select id from workflows where state in ('running', 'undoing', 'waiting', 'stuck')",
    );
    return rows.length === 0;
  }
}

const begin = async (kind: Exclude<Kind, 'recover'>, by: TestProcessor, id: string): Promise<void> => {
  const input = { InstanceIds: [id] };
  if (kind === 'start') await ec2(by.cell, 'StartInstances', input);
  else if (kind === 'stop') await ec2(by.cell, 'StopInstances', input);
  else if (kind === 'reboot') await ec2(by.cell, 'RebootInstances', input);
  else if (kind === 'terminate') await ec2(by.cell, 'TerminateInstances', input);
  else await by.cell.operator['operator.migrate']({ instanceId: id });
};

const orderFor = (kind: Kind, step: string, mode: Mode, forward: boolean): Order => {
  const name = `${kind}.${step}`;
  if (mode === 'repeat') return { kind, point: name, ends: 'done', arrange: (faults) => faults.repeat(name) };
  const point = `${name}.${mode.endsWith('before') ? 'before' : 'after'}`;
  if (mode.startsWith('crash'))
    return { kind, point, ends: 'done', arrange: (faults, kill) => faults.crashAt(point, kill) };
  return {
    kind,
    point,
    ends: forward ? 'done' : 'undone',
    arrange: (faults) => faults.failAt(point, forward ? 2 : forever),
  };
};

/** Those whose subject is an instance; rebuild-faults.test.ts has those of hosts. */
export const everyKind: readonly Kind[] = workflowDefinitions
  .map(({ kind }) => kind)
  .filter((kind): kind is Kind => Object.hasOwn(finalState, kind));

const chosen = (kinds: readonly Kind[]) =>
  workflowDefinitions.filter(({ kind }) => kinds.includes(kind as Kind));

/** Where cases run, and how many at a time. */
export interface Lanes {
  readonly count: number;
  run(order: Order): Promise<void>;
}

interface Case {
  readonly name: string;
  run(): Promise<void>;
}

/** Declares a test with a subtest for each case, as many at a time as there are lanes: most of a case is waiting. */
export const testCases = (name: string, lanes: Lanes, cases: readonly Case[]): void => {
  test(name, { concurrency: lanes.count }, async (t) => {
    await Promise.all(cases.map((each) => t.test(each.name, () => each.run())));
  });
};

/** Declares the tests of every step of these workflows with every fault. */
export const everyStepEveryFault = (kinds: readonly Kind[], lanes: Lanes): void => {
  for (const definition of chosen(kinds)) {
    const kind = definition.kind as Kind;
    testCases(
      `${kind}: every step × every fault`,
      lanes,
      definition.steps.flatMap((step) =>
        modes.map((mode) => ({
          name: `${step.name} ${mode}`,
          run: () => lanes.run(orderFor(kind, step.name, mode, step.onFailure === 'retry')),
        })),
      ),
    );
  }
};

/** The step after which each workflow that can be undone is made to fail. */
const failing: Partial<Record<Kind, string>> = {
  launch: 'commission',
  start: 'launchVm',
  recover: 'launchVm',
  migrate: 'lock',
};

/** A workflow that fails after its step `last` and whose processor dies at this point of an undo. */
const undoOrder = (kind: Kind, last: string, point: string): Order => ({
  kind,
  point,
  ends: 'undone',
  arrange: (faults, kill) => {
    faults.failAt(`${kind}.${last}.after`, forever);
    faults.crashAt(point, kill);
  },
});

/** Declares the tests of a crash before and after each undo of these workflows. */
export const crashAtEachUndo = (kinds: readonly Kind[], lanes: Lanes): void => {
  const cases = chosen(kinds).flatMap((definition) => {
    const kind = definition.kind as Kind;
    const last = failing[kind];
    if (last === undefined) return [];
    return definition.steps
      .filter((step) => typeof step.undo === 'function')
      .flatMap((step) =>
        ['before', 'after'].map((side) => ({
          name: `${kind} ${step.name}.undo ${side}`,
          run: () => lanes.run(undoOrder(kind, last, `${kind}.${step.name}.undo.${side}`)),
        })),
      );
  });
  testCases('a crash before or after each undo ends undone all the same', lanes, cases);
};

/** The steps of a kind, each with the first of those that run alongside it: the one by which the group is parked. */
const stepsWithGroups = (definition: (typeof workflowDefinitions)[number]) => {
  let first = '';
  return definition.steps.map((step) => {
    if (!step.alongside) first = step.name;
    return { step, first };
  });
};

const parksSoon: ProcessorOptions = {
  timing: { retryInMemoryMs: 1, parkMsMin: 20, parkMsMax: 60, duePollMs: 60 },
};

/**
 * Declares the tests of every step of these workflows with what it needs away: its workflow is parked, and its processor goes on,
 * dies before the row says so, or dies after. Each ends as if nothing had been.
 */
export const everyStepAway = (kinds: readonly Kind[], lanes: Lanes): void => {
  for (const definition of chosen(kinds)) {
    const kind = definition.kind as Kind;
    const cases = stepsWithGroups(definition)
      .filter(({ step }) => !step.staysInMemory)
      .flatMap(({ step, first }) =>
        (['none', 'before', 'after'] as const).map((crash) => ({
          name: `${step.name}, crash ${crash}`,
          run: () => lanes.run(awayOrder(kind, step.name, first, crash)),
        })),
      );
    testCases(`${kind}: every step × what it needs is away`, lanes, cases);
  }
};

const awayOrder = (kind: Kind, step: string, first: string, crash: 'none' | 'before' | 'after'): Order => {
  const point = `${kind}.${first}.park.${crash === 'none' ? 'after' : crash}`;
  const arrange: Order['arrange'] = (faults, kill) => {
    faults.awayAt(`${kind}.${step}.before`, 2);
    if (crash === 'none') faults.doAt(point, () => undefined);
    else faults.crashAt(point, kill);
  };
  return { kind, point, ends: 'done', arrange, processor: parksSoon };
};

/** A crash before each step of these workflows, and after each of their undos. */
export const crashOrders = (kinds: readonly Kind[]): Order[] =>
  chosen(kinds).flatMap((definition) => {
    const kind = definition.kind as Kind;
    const forward = definition.steps.map((step) =>
      orderFor(kind, step.name, 'crash-before', step.onFailure === 'retry'),
    );
    const last = failing[kind];
    if (last === undefined) return forward;
    const back = definition.steps.filter((step) => typeof step.undo === 'function');
    return [...forward, ...back.map((step) => undoOrder(kind, last, `${kind}.${step.name}.undo.after`))];
  });
