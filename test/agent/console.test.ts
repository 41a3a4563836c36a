/** The console of a real VM: what it wrote is there after a reboot, a stop and a start, and while it is stopped. */
import assert from 'node:assert/strict';
import { after, before, it } from 'node:test';
import { key, Lab, requirement, type TestHost, until } from './lab.ts';

let lab: Lab;
let host: TestHost;
before(async () => {
  lab = await Lab.open();
  host = await (await lab.host()).start();
});
after(() => lab.close());

const consoleOf = async (instanceId: string): Promise<string> =>
  (await host.call('vm.console', { instanceId })).output;
/** A byte to the serial port's register, as a guest writes it. */
const say = async (instanceId: string, text: string): Promise<void> => {
  for (const byte of Buffer.from(text)) await host.hmp(instanceId, `o /b 0x3f8 ${byte}`);
  await until(`it has said ${text}`, async () => (await consoleOf(instanceId)).endsWith(text));
};

it('is kept through reboot, stop and start', async () => {
  const { instanceId } = await host.launch();
  await say(instanceId, 'one ');
  await host.call('vm.reboot', { command: key(), instanceId });
  await say(instanceId, 'two ');
  await host.call('vm.stop', { command: key(), instanceId, force: true, graceMs: 0 });
  assert.equal(await consoleOf(instanceId), 'one two ');
  const network = await host.prepare(instanceId);
  const again = { command: key(), instanceId, requirement, image: host.imageRef, network, incoming: false };
  await host.call('vm.launch', { ...again, diskRequired: true });
  await say(instanceId, 'three');
  assert.equal(await consoleOf(instanceId), 'one two three');
  await host.call('vm.destroy', { command: key(), instanceId });
});
