/** Power cycles through Redfish, on a simulated controller: authentication, the reset that is allowed, tasks, refusals, what passes and what does not. */
import assert from 'node:assert/strict';
import { writeFile } from 'node:fs/promises';
import { afterEach, beforeEach, test } from 'node:test';
import { type RedfishMachine, RedfishPower, redfishMachines } from '#cell/reconfiguration/redfish.ts';
import { PandoError } from '#contracts/errors.ts';
import { RedfishSimulator } from '../support/redfish-simulator.ts';

let controller: RedfishSimulator;
beforeEach(async () => {
  controller = await RedfishSimulator.start();
  await writeFile(controller.path('password'), `${controller.password}\n`);
});
afterEach(() => controller.close());

const power = (changes: Partial<RedfishMachine> = {}): RedfishPower =>
  new RedfishPower({
    'h-1': {
      ...{ url: controller.url, username: controller.username, caFile: controller.caFile },
      ...{ passwordFile: controller.path('password'), authentication: 'session' as const, ...changes },
    },
  });
const failure = (work: Promise<unknown>): Promise<PandoError> =>
  work.then(
    () => assert.fail('it succeeded'),
    (error: unknown) => PandoError.from(error),
  );
const types = (): string[] => controller.resets.map(({ type }) => type);

test('a session is opened, used and closed again; basic authentication opens none', async () => {
  assert.deepEqual([power().has('h-1'), power().has('h-2')], [true, false]);
  await power().cycle('h-1');
  assert.deepEqual(controller.resets, [{ type: 'PowerCycle', by: 'session' }]);
  assert.equal(controller.sessions.size, 0);
  await power({ authentication: 'basic' }).cycle('h-1');
  assert.equal(controller.resets[1]?.by, 'basic');
});

test('the best reset that is allowed, wherever that is told; off and on where there is none', async () => {
  for (const [allowed, expected] of [
    [['On', 'ForceOff', 'ForceRestart', 'PowerCycle'], ['PowerCycle']],
    [['On', 'GracefulRestart', 'ForceRestart'], ['ForceRestart']],
    [['GracefulRestart'], ['GracefulRestart']],
    [
      ['On', 'ForceOff'],
      ['ForceOff', 'On'],
    ],
  ] as const)
    for (const byActionInfo of [false, true]) {
      controller.resets.length = 0;
      Object.assign(controller, { allowed, byActionInfo });
      await power().cycle('h-1');
      assert.deepEqual(types(), expected);
    }
});

test('a machine that is off is turned on', async () => {
  controller.powerState = 'Off';
  await power().cycle('h-1');
  assert.deepEqual(types(), ['On']);
});

test('no reset that we know, more systems than one: refused for good, and nothing is reset', async () => {
  controller.allowed = ['Nmi'];
  assert.equal((await failure(power().cycle('h-1'))).code, 'InternalError');
  controller.allowed = ['PowerCycle'];
  controller.systems = ['/redfish/v1/Systems/1', '/redfish/v1/Systems/2'];
  assert.match((await failure(power().cycle('h-1'))).message, /has 2 systems/);
  assert.deepEqual(types(), []);
  await power({ system: '/redfish/v1/Systems/2' }).cycle('h-1');
  assert.deepEqual(types(), ['PowerCycle']);
});

test('a task is followed to its end, by its monitor or by itself; one that fails says why', async () => {
  controller.taskLooks = 3;
  for (const taskEnd of ['monitor', 'Completed'] as const) {
    controller.taskEnd = taskEnd;
    await power().cycle('h-1');
  }
  controller.taskEnd = 'Exception';
  const { code, message } = await failure(power().cycle('h-1'));
  assert.equal(code, 'InternalError');
  assert.match(message, /Exception.*power supply did not answer/);
  assert.equal(controller.sessions.size, 0, 'the session is closed all the same');
});

test('a wrong password, another authority, a controller that is away or answers nonsense', async () => {
  await writeFile(controller.path('password'), 'not it');
  const wrong = await failure(power().cycle('h-1'));
  assert.match(wrong.message, /does not let us in.*password is not right/);
  assert.ok(!wrong.message.includes('not it'), 'the password is in no error');
  await writeFile(controller.path('password'), controller.password);

  const other = await RedfishSimulator.start();
  const stranger = await failure(power({ caFile: other.caFile }).cycle('h-1'));
  assert.equal(stranger.code, 'HostUnreachable');
  const { url } = other;
  await other.close();
  assert.equal((await failure(power({ url }).cycle('h-1'))).class, 'unreachable');

  controller.instead.push({ status: 200, body: 'no system' });
  assert.equal(
    (await failure(power({ authentication: 'basic', system: '/redfish/v1/Systems/1' }).cycle('h-1'))).code,
    'InternalError',
  );
  assert.deepEqual(types(), []);
});

test('what passes is waited for, what is refused is not; a redirection takes no token elsewhere', async () => {
  const direct = power({ authentication: 'basic', system: '/redfish/v1/Systems/1' });
  for (const [status, code] of [
    [503, 'HostUnreachable'],
    [429, 'HostUnreachable'],
    [404, 'InternalError'],
    [307, 'InternalError'],
  ] as const) {
    controller.instead.push({ status, headers: { location: 'https://192.0.2.1/' } });
    assert.equal((await failure(direct.cycle('h-1'))).code, code, String(status));
  }
  assert.deepEqual(types(), []);
});

test('whoever is not waited for any more stops', async () => {
  Object.assign(controller, { taskLooks: 1_000_000, taskEnd: 'monitor' });
  const stop = new AbortController();
  const cycled = failure(power().cycle('h-1', stop.signal));
  while (controller.resets.length === 0) await new Promise((resolve) => setTimeout(resolve, 5));
  stop.abort();
  assert.ok(await cycled);
});

test('a controller without TLS is not taken into the configuration', () => {
  const machine = { url: 'http://192.0.2.1', username: 'u', passwordFile: '/p', caFile: '/c' };
  assert.equal(redfishMachines.safeParse({ 'h-1': machine }).success, false);
  assert.equal(redfishMachines.safeParse({ 'h-1': { ...machine, url: 'https://192.0.2.1' } }).success, true);
});
