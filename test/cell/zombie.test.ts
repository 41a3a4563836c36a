/**
 * A real processor is stopped (SIGSTOP) in the middle of a step, for longer than its lease. The other one takes over, and the instance's
 * life goes on. Then the first wakes up (SIGCONT), and the call that it had sent arrives: no effect on any host, no orphan interface.
 */
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { PandoError } from '#contracts/errors.ts';
import type { SimHost } from '#simhost/sim-host.ts';
import { until } from './support/harness.ts';
import { CellProcesses } from './support/processes.ts';

let cell: CellProcesses;
before(async () => {
  cell = await CellProcesses.start(['one', 'two'], 2);
});
after(() => cell.stop());

const settleMs = 30_000;
let tokens = 0;

interface Shown {
  readonly InstanceId: string;
  readonly State: { readonly Name: string };
}

const run = async (by: string, token: string): Promise<string> => {
  const image = { ImageId: cell.region.imageId, InstanceType: 'p1.nano' };
  const output = await cell.call(by, 'RunInstances', {
    ...image,
    MinCount: 1,
    MaxCount: 1,
    ClientToken: token,
  });
  return (output.Instances as Shown[])[0]?.InstanceId ?? '';
};

const becomes = (by: string, id: string, state: string): Promise<unknown> =>
  until(
    `${id} is ${state}`,
    async () => {
      const output = await cell.call(by, 'DescribeInstances', { InstanceIds: [id] });
      const [reservation] = output.Reservations as { Instances: Shown[] }[];
      return reservation?.Instances[0]?.State.Name === state;
    },
    settleMs,
  );

const running = async (by: string): Promise<string> => {
  const id = await run(by, `token-${tokens++}`);
  await becomes(by, id, 'running');
  return id;
};

/** All that hosts, cards and the region have. */
const picture = () => ({
  hosts: cell.hosts.map(({ vms, card }) => ({
    vms: [...vms.values()].map((vm) => [vm.instanceId, vm.state, vm.eniId, vm.hasDisk]),
    ports: [...card.ports].map(([eniId, { active, redirect, port }]) => [
      eniId,
      active,
      redirect,
      port.epoch,
    ]),
    queues: [...card.queues],
    administrative: [...card.administrative],
    forwarding: [...card.forwarding],
  })),
  interfaces: [...cell.region.interfaces],
});

const hostOf = (id: string): SimHost | undefined =>
  cell.hosts.find(({ vms }) => vms.get(id)?.state === 'running');

interface Called {
  readonly instanceId?: string;
  readonly eniId?: string;
  readonly command?: { readonly step: string };
}

/** Whether a call is about the instance, or its interface. */
const isAbout = (id: string, params: unknown): boolean => {
  const { instanceId, eniId } = params as Called;
  return instanceId === id || (eniId !== undefined && eniId === cell.region.interfaces.get(id)?.eniId);
};

/** Freezes one processor at a call, and keeps that call at the door. */
class Zombie {
  readonly name: string;
  readonly other: string;
  /** How calls about the instance ended that arrived after the other had gone on. */
  readonly late: { method: string; code: string; held: boolean; reconciles: boolean }[] = [];
  #held: unknown;
  #isFrozen = false;
  #open: (() => void) | undefined;

  /** `first` says of which of its calls it is. `others` is told of the other processor's, and may keep or fail them. */
  constructor(
    name: string,
    first: (method: string, params: unknown) => boolean,
    others: (method: string, params: unknown) => Promise<void> | void = () => undefined,
  ) {
    this.name = name;
    this.other = name === 'one' ? 'two' : 'one';
    const opened = new Promise<void>((resolve) => {
      this.#open = resolve;
    });
    let armed = true;
    cell.gate = async (processor, method, params) => {
      if (processor !== name) return others(method, params);
      if (!armed || !first(method, params)) return;
      armed = false;
      this.#held = params;
      cell.children.get(name)?.kill('SIGSTOP');
      this.#isFrozen = true;
      await opened;
    };
  }

  frozen(): Promise<unknown> {
    return until(`${this.name} is frozen`, () => this.#isFrozen, settleMs);
  }

  /** Whatever came of the test, the next one finds both processors at work. */
  async [Symbol.asyncDispose](): Promise<void> {
    cell.gate = () => undefined;
    cell.witness = () => undefined;
    cell.children.get(this.name)?.kill('SIGCONT');
    this.#open?.();
    await cell.ready(this.name);
  }

  /** It wakes up, its call arrives, and it is seen to work again. */
  async wake(id: string): Promise<void> {
    cell.witness = (processor, method, params, code) => {
      const held = params === this.#held;
      const reconciles = (params as Called).command?.step === 'reconcile';
      if (processor === this.name && (held || isAbout(id, params)))
        this.late.push({ method, code, held, reconciles });
    };
    cell.children.get(this.name)?.kill('SIGCONT');
    this.#open?.();
    await until('the late call has come', () => this.late.some(({ held }) => held));
    await cell.ready(this.name);
    // Whatever it still had in hand it has tried by the time that it has carried a whole life through.
    const own = await running(this.name);
    await cell.call(this.name, 'TerminateInstances', { InstanceIds: [own] });
    await becomes(this.name, own, 'terminated');
    await until('its VM is gone', () => cell.hosts.every(({ vms }) => !vms.has(own)));
  }
}

const reads: ReadonlySet<string> = new Set(['vm.describe', 'card.exportFlows']);

/** Nothing of what came late had an effect, and all of it was refused as such. */
const assertHarmless = (zombie: Zombie, before: ReturnType<typeof picture>): void => {
  assert.deepEqual(picture(), before);
  assert.deepEqual(cell.world.violations, []);
  // What it decides anew, awake, from the store as it is then, is a newer generation's: it finds nothing to do.
  const old = zombie.late.filter(
    ({ method, held, reconciles }) => held || !(reads.has(method) || reconciles),
  );
  for (const { method, code } of old) assert.equal(code, 'StaleEpoch', method);
};

for (const [victim, held] of [
  ['one', 'region.allocateInterface'],
  ['two', 'vm.ensureImage'],
  ['one', 'vm.prepareNetwork'],
  ['two', 'vm.launch'],
] as const)
  test(`launch, frozen in ${held}: the other undoes it, and nothing comes of what arrives late`, async () => {
    const token = `token-${tokens++}`;
    // An order of the other's own fails for good once the first is frozen: it undoes what it has taken over.
    let isFrozen = false;
    await using zombie = new Zombie(
      victim,
      (method) => method === held,
      (method) => {
        if (isFrozen && method === 'vm.ensureImage')
          throw new PandoError('InvalidParameterValue', 'This failure was ordered.');
      },
    );
    const asked = run(victim, token).catch(() => undefined);
    await zombie.frozen();
    isFrozen = true;
    const id = await run(zombie.other, token);
    await becomes(zombie.other, id, 'terminated');
    await until('its interface is gone', () => !cell.region.interfaces.has(id));
    await until('its VM is gone', () => cell.hosts.every(({ vms }) => !vms.has(id)));
    const before = picture();
    isFrozen = false;
    await zombie.wake(id);
    await asked;
    assertHarmless(zombie, before);
    for (const { card } of cell.hosts) assert.equal(card.ports.size, 0);
    assert.equal(cell.region.interfaces.size, 0, 'no orphan');
  });

const terminate = async (by: string, id: string): Promise<void> => {
  await cell.call(by, 'TerminateInstances', { InstanceIds: [id] });
  await becomes(by, id, 'terminated');
  await until(
    'nothing is left',
    () => cell.region.interfaces.size === 0 && cell.hosts.every((h) => h.vms.size === 0),
  );
};

for (const [victim, held] of [
  ['one', 'vm.stop'],
  ['two', 'vm.detachNetwork'],
  ['one', 'region.placeInterface'],
] as const)
  test(`stop, frozen in ${held}: the other stops and starts it; it runs on when the rest arrives`, async () => {
    await using zombie = new Zombie(victim, (method) => method === held && !starting);
    let starting = true;
    const id = await running(zombie.other);
    starting = false;
    // It may be frozen before it has answered.
    const asked = cell.call(victim, 'StopInstances', { InstanceIds: [id] }).catch(() => undefined);
    await zombie.frozen();
    await becomes(zombie.other, id, 'stopped');
    await cell.call(zombie.other, 'StartInstances', { InstanceIds: [id] });
    await becomes(zombie.other, id, 'running');
    const before = picture();
    await zombie.wake(id);
    await asked;
    assertHarmless(zombie, before);
    assert.equal(cell.world.runningOn(id).length, 1);
    await terminate(victim, id);
  });

for (const [victim, held] of [
  ['two', 'card.openQueue'],
  ['one', 'migrate.flush'],
  ['two', 'migrate.switch'],
  ['one', 'card.redirectPort'],
  ['two', 'card.detachPort'],
] as const)
  test(`migration, frozen in ${held}: the other goes on and moves it back; the port stays as it is`, async () => {
    await using zombie = new Zombie(victim, (method) => method === held);
    const id = await running(zombie.other);
    const home = hostOf(id);
    const asked = cell
      .operator(victim)
      .call('operator.migrate', { instanceId: id })
      .catch(() => undefined);
    await zombie.frozen();
    const move = async (): Promise<void> => {
      const { workflowId, targetHostId } = await until('it can be moved again', () =>
        cell
          .operator(zombie.other)
          .call('operator.migrate', { instanceId: id })
          .catch(() => undefined),
      );
      const state = async () =>
        (await cell.operator(zombie.other).call('operator.workflow', { workflowId })).state;
      await until('it has moved', async () => (await state()) === 'done', settleMs);
      assert.equal(hostOf(id)?.hostId, targetHostId);
    };
    await move();
    // There and back, so that each card has the port again that the late call is about.
    await move();
    assert.notEqual(home, undefined);
    const before = picture();
    await zombie.wake(id);
    await asked;
    assertHarmless(zombie, before);
    await terminate(victim, id);
  });

test('a reconciler’s own command, decided before the user started the instance: it runs on', async () => {
  const victim = 'one';
  let id = '';
  let isStopped = false;
  let letOthers: (() => void) | undefined;
  const othersMay = new Promise<void>((resolve) => {
    letOthers = resolve;
  });
  await using zombie = new Zombie(
    victim,
    (method, params) => isStopped && method === 'vm.stop' && isAbout(id, params),
    async (method, params) => {
      // The first is to be the one that reconciles.
      if (isStopped && method === 'vm.describe' && isAbout(id, params)) await othersMay;
    },
  );
  id = await running(zombie.other);
  const host = hostOf(id);
  await cell.call(zombie.other, 'StopInstances', { InstanceIds: [id] });
  await becomes(zombie.other, id, 'stopped');
  isStopped = true;
  host?.vms.get(id)?.become('running');
  await zombie.frozen();
  letOthers?.();
  await until('the other has stopped it', () => host?.vms.get(id)?.state === 'stopped', settleMs);
  await until('it starts', () =>
    cell
      .call(zombie.other, 'StartInstances', { InstanceIds: [id] })
      .then(() => true)
      .catch(() => false),
  );
  await becomes(zombie.other, id, 'running');
  const before = picture();
  await zombie.wake(id);
  assertHarmless(zombie, before);
  assert.equal(cell.world.runningOn(id).length, 1);
  await terminate(victim, id);
});
