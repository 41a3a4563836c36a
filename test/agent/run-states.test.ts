/** Reboot and stop in every state that a VMM can be brought into, on real QEMU. */
import assert from 'node:assert/strict';
import { after, before, it } from 'node:test';
import { setImmediate } from 'node:timers/promises';
import { GuestWatch } from '#agent/guest-watch.ts';
import { lookAt } from '#agent/health-watch.ts';
import { looksMissedMax, resetFollowsMsMax, resetsRememberedMax, resetsWithinMs } from '#agent/limits.ts';
import type { Looked } from '#agent/run-state.ts';
import { PandoError } from '#contracts/errors.ts';
import type { VmReport } from '#contracts/host.ts';
import { key, Lab, type TestHost, until } from './lab.ts';

let lab: Lab;
let host: TestHost;
before(async () => {
  lab = await Lab.open();
  host = await (await lab.host()).start();
});
after(() => lab.close());

const report = (instanceId: string): Promise<VmReport> => host.call('vm.describe', { instanceId });
const runStateOf = async (instanceId: string): Promise<string> => {
  const answer = await host.qmp(instanceId, 'query-status', {});
  return typeof answer === 'object' && answer !== null && 'status' in answer ? String(answer.status) : '';
};
const destroy = (instanceId: string) => host.call('vm.destroy', { command: key(), instanceId });
const reboot = (instanceId: string) => host.call('vm.reboot', { command: key(), instanceId });
const counts = async (instanceId: string): Promise<void> => {
  await until('the guest has booted', async () => (await host.round(instanceId)) > 0);
  const before = await host.round(instanceId);
  await until('the guest counts', async () => (await host.round(instanceId)) !== before);
};

/** By then the firmware has added its own reset, if it does. */
const lookedAtTwice = async (): Promise<void> => {
  const looks = () => lab.cardCalls.filter(({ method }) => method === 'heard').length;
  const before = looks();
  await until('the VMs were looked at twice', () => looks() >= before + 2);
};

/** How a VMM gets there, behind its agent's back. */
const ways: Record<string, (instanceId: string) => Promise<unknown>> = {
  paused: (id) => host.qmp(id, 'stop', {}),
  prelaunch: async (id) => {
    await host.qmp(id, 'stop', {});
    await host.qmp(id, 'system_reset', {});
  },
  // Sleep, as a guest's kernel asks for it in the ACPI control register.
  suspended: (id) => host.hmp(id, 'o /w 0x604 0x2400'),
  postmigrate: (id) => host.qmp(id, 'migrate', { uri: 'file:/vm/elsewhere' }),
  'finish-migrate': async (id) => {
    await host.qmp(id, 'migrate-set-capabilities', {
      capabilities: [{ capability: 'pause-before-switchover', state: true }],
    });
    await host.qmp(id, 'migrate', { uri: 'file:/vm/elsewhere' });
  },
};

for (const [runState, bring] of Object.entries(ways)) {
  it(`${runState}: a reboot lets the guest run anew, a stop stops it`, async () => {
    const { instanceId } = await host.launch();
    await counts(instanceId);
    await bring(instanceId);
    await until(`the VMM is ${runState}`, async () => (await runStateOf(instanceId)) === runState);
    await until('the host tells it', async () => (await report(instanceId)).health?.runState === runState);
    await reboot(instanceId);
    await until('it runs', async () => (await runStateOf(instanceId)) === 'running');
    await counts(instanceId);
    assert.equal((await report(instanceId)).state, 'running');
    await bring(instanceId);
    await until(`the VMM is ${runState} again`, async () => (await runStateOf(instanceId)) === runState);
    const stopped = await host.call('vm.stop', {
      ...{ command: key(), instanceId, force: false, graceMs: 60_000 },
    });
    assert.equal(stopped.state, 'stopped');
    assert.equal((await report(instanceId)).ended?.cause, 'requested');
    await destroy(instanceId);
  });
}

it('a target that waits for its guest is not rebooted into one of its own', async () => {
  const target = await (await lab.host({ migrationTls: 'off' })).start();
  const { instanceId } = await target.launch(undefined, { incoming: true });
  await assert.rejects(target.call('vm.reboot', { command: key(), instanceId }), (error: unknown) => {
    assert.equal(PandoError.from(error).code, 'IncorrectInstanceState');
    return true;
  });
  assert.equal((await target.call('vm.describe', { instanceId })).health, undefined, 'nor judged');
  await target.call('vm.destroy', { command: key(), instanceId });
});

it('guests that reset themselves are counted, an order from outside is not, and either boots anew', async () => {
  const { instanceId } = await host.launch();
  await counts(instanceId);
  await reboot(instanceId);
  await lookedAtTwice();
  assert.equal((await report(instanceId)).health?.resets, 0);
  // The reset register, as a kernel that panics writes it.
  await host.hmp(instanceId, 'o /b 0xcf9 6');
  await until('it is told', async () => (await report(instanceId)).health?.resets === 1);
  assert.equal((await report(instanceId)).health?.bootSeen, true);
  await destroy(instanceId);
});

it('what the card has heard before a boot says nothing of the guest since; without a boot it does', () => {
  let now = 1_000;
  const watch = new GuestWatch(() => now);
  watch.saw('running');
  assert.equal(watch.health()?.configured, undefined, 'nobody has listened');
  watch.heard({ listenedMs: 500 });
  assert.deepEqual([watch.health()?.configured, watch.health()?.listenedMs], [false, 0]);
  watch.heard({ listenedMs: 500, dhcpMs: 400 });
  assert.equal(watch.health()?.configured, true, 'a new agent takes what was heard before it');
  now += 1_000;
  watch.booted();
  now += 100;
  watch.heard({ listenedMs: 1_600, dhcpMs: 1_500 });
  assert.deepEqual([watch.health()?.configured, watch.health()?.listenedMs], [false, 100]);
  watch.heard({ listenedMs: 1_600, dhcpMs: 1_500, arpMs: 50 });
  assert.equal(watch.health()?.configured, true);
});

it('resets are remembered for a while, and no more than a bounded number', () => {
  let now = 0;
  const watch = new GuestWatch(() => now);
  watch.saw('running');
  const reset = (guest: boolean) => watch.onEvent({ name: 'RESET', data: { guest } });
  for (let n = 0; n < 4; n++) reset(true);
  assert.equal(
    watch.health()?.resets,
    2,
    'one that the firmware adds is of the one before it, and no third is',
  );
  now += resetFollowsMsMax;
  reset(false);
  reset(true);
  assert.equal(watch.health()?.resets, 2, 'also after an order from outside');
  for (let n = 0; n < 3 * resetsRememberedMax; n++) {
    now += resetFollowsMsMax;
    reset(true);
  }
  assert.equal(watch.health()?.resets, resetsRememberedMax);
  now += resetsWithinMs;
  assert.equal(watch.health()?.resets, 0);
});

it('processors that stand still are told of, but not for the time in which they could not run', () => {
  let now = 0;
  const watch = new GuestWatch(() => now);
  watch.saw('running');
  watch.used(5);
  now += 1_000;
  watch.used(5);
  assert.equal(watch.health()?.stalledMs, 1_000);
  watch.used(6);
  assert.equal(watch.health()?.stalledMs, 0);
  watch.saw('paused');
  now += 60_000;
  watch.saw('running');
  watch.used(6);
  assert.equal(watch.health()?.stalledMs, 0);
});

/** A VMM that answers with this, once it has told what happened meanwhile. */
const answering = (status: string | undefined, meanwhile: (watch: GuestWatch) => void): Looked => {
  const watch = new GuestWatch();
  const execute = async (): Promise<unknown> => {
    await setImmediate();
    meanwhile(watch);
    if (status === undefined) throw new PandoError('DeadlineExceeded', 'It does not answer.');
    return { status, running: status === 'running' };
  };
  const query = async (): Promise<unknown> => [];
  return { watch, monitor: { execute, query }, record: {} } as unknown as Looked;
};
const resumed = (watch: GuestWatch): void => watch.onEvent({ name: 'RESUME', data: {} });

it('an answer that is older than what the VMM has told since is not taken', async () => {
  const begun = answering('prelaunch', resumed);
  await lookAt(begun);
  assert.equal(begun.watch.health()?.runState, 'running');
  const taken = answering('inmigrate', (watch) => {
    watch.found();
    watch.saw('running');
  });
  await lookAt(taken);
  assert.equal(taken.watch.health()?.runState, 'running', 'the guest of another host has come');
  const still = answering('paused', () => undefined);
  await lookAt(still);
  assert.equal(still.watch.health()?.runState, 'paused', 'what nothing contradicts is taken');
});

it('a VMM of which nothing is known yet tells nothing; one that misses a look is not told of, one that misses more is', async () => {
  const silent = answering(undefined, () => undefined);
  assert.equal(silent.watch.health(), undefined);
  silent.watch.saw('running');
  for (let looks = 1; looks < looksMissedMax; looks++) {
    await lookAt(silent);
    assert.equal(silent.watch.health()?.runState, 'running');
  }
  await lookAt(silent);
  assert.ok(silent.watch.health());
  assert.equal(silent.watch.health()?.runState, undefined);
  silent.watch.saw('running');
  await lookAt(silent);
  assert.equal(silent.watch.health()?.runState, 'running', 'an answer begins the count anew');
});
