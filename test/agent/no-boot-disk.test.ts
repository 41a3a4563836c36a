/** A disk from which nothing boots, under real QEMU and its firmware: the VM runs, and what is told of it makes its cell call the guest impaired. */
import assert from 'node:assert/strict';
import { after, before, it } from 'node:test';
import { judge } from '#cell/health/judge.ts';
import { guestConfiguresMsMax } from '#cell/limits.ts';
import type { VmReport } from '#contracts/host.ts';
import { key, Lab, type TestHost, until } from './lab.ts';

let lab: Lab;
let host: TestHost;
/** Zeros: no boot sector, which ends in 55 aa. */
const noBootSector = Buffer.alloc(512);
before(async () => {
  lab = await Lab.open(undefined, noBootSector);
  host = await (await lab.host()).start();
});
after(() => lab.close());

const report = (instanceId: string): Promise<VmReport> => host.call('vm.describe', { instanceId });

/** The report as it is once the guest has had all the time that it gets. */
const later = (now: VmReport): VmReport => ({
  ...now,
  ...(now.health && {
    health: { ...now.health, listenedMs: (now.health.listenedMs ?? 0) + guestConfiguresMsMax },
  }),
});

it('its VM runs on without a reset, no address is asked for, and the instance check becomes impaired, also after a reboot', async () => {
  const { instanceId } = await host.launch();
  const settled = () =>
    until('the firmware has given up, and was looked at since', async () => {
      const { health } = await report(instanceId);
      return (
        health?.configured === false && (health.listenedMs ?? 0) > 3_000 && health.stalledMs !== undefined
      );
    });
  for (const reboots of [0, 1]) {
    if (reboots > 0) await host.call('vm.reboot', { command: key(), instanceId });
    await settled();
    const seen = await report(instanceId);
    assert.equal(seen.state, 'running');
    assert.deepEqual(
      [seen.health?.runState, seen.health?.bootSeen, seen.health?.resets, seen.health?.configured],
      ['running', true, 0, false],
    );
    const young = judge(undefined, seen, 0);
    assert.deepEqual([young?.instance.status, young?.system.status], ['initializing', 'ok']);
    const since = new Date(1_000).toISOString();
    const late = judge(young, later(seen), 1_000);
    assert.equal(late?.instance.status, 'impaired');
    assert.equal(late?.instance.since, since);
    assert.equal(late?.system.status, 'ok', 'its host has done its part');
  }
  await host.call('vm.destroy', { command: key(), instanceId });
});
