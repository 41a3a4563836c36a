/** Live migration under traffic: nothing lost, connections alive, memory intact, and one running copy whatever dies. */
import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import type { Vm } from './support/cloud.ts';
import type { Guest } from './support/guest.ts';
import { processesOf } from './support/processes.ts';
import { startRegion, type TestRegion } from './support/region.ts';
import { Datagrams, Ping, Stream } from './support/traffic.ts';
import { until } from './support/until.ts';
import { vmmOf, vmmsOf } from './support/vmm.ts';

/** There and back; 20 times with PANDO_MIGRATIONS=20. */
const rounds = Number(process.env.PANDO_MIGRATIONS ?? 2);
const witnessMib = 32;
const streamPort = 9_001;

describe('live migration', { timeout: (10 + rounds) * 60_000 }, () => {
  let region: TestRegion;
  let vm: Vm;
  let guest: Guest;

  before(async () => {
    region = await startRegion();
    const network = await region.cloud.network('10.90.0.0/16', '-1');
    const [machine] = await region.cloud.start({ network });
    assert.ok(machine);
    ({ vm, guest } = machine);
    await guest.page(`/cgi-bin/memcheck?start=${witnessMib}`);
    await until('the memory witness', async () => (await witness()).round > 0);
  });

  after(() => region?.[Symbol.asyncDispose]());

  /** Rounds over all pages that the program in the VM has verified, and pages that were not what it wrote. */
  const witness = (): Promise<{ round: number; errors: number }> =>
    until('the memory witness to report', async () => {
      const text = (await guest.page('/cgi-bin/memcheck')) ?? '';
      const [, round, errors] = /round=([0-9a-f]+) errors=([0-9a-f]+)/i.exec(text) ?? [];
      if (round === undefined || errors === undefined) return undefined;
      return { round: Number.parseInt(round, 16), errors: Number.parseInt(errors, 16) };
    });

  async function migrate(): Promise<void> {
    const from = vmmOf(vm.instanceId).host;
    await region.pando('migrate', vm.instanceId);
    await until('one copy on another host', () => {
      const [only, ...more] = vmmsOf(vm.instanceId);
      return only !== undefined && more.length === 0 && only.host !== from;
    });
  }

  for (let round = 1; round <= rounds; round++)
    it(`moves there and back under traffic (${round} of ${rounds})`, async (t) => {
      const stream = await Stream.open(guest, streamPort + round);
      const datagrams = await Datagrams.start(guest, 500);
      await using ping = new Ping(vm.publicIp, 10);
      await until('traffic to flow', () => ping.answers > 50 && stream.lines > 20);
      const verified = (await witness()).round;

      for (let move = 0; move < 2; move++) {
        await migrate();
        const lines = stream.lines;
        await until('the stream to go on', () => stream.lines > lines + 50);
      }
      await until('every page to be verified again', async () => (await witness()).round >= verified + 2);

      const [pinged, counted, streamed] = [await ping.stop(), await datagrams.stop(), stream.stop()];
      t.diagnostic(
        `ping: ${pinged.sent} sent, ${pinged.lost.length} lost, longest gap ${pinged.longestGapMs.toFixed(0)} ms; ` +
          `UDP: ${counted.sent} sent, ${counted.sent - counted.arrived} lost; TCP: ${streamed.lines} lines`,
      );
      assert.deepEqual(pinged.lost, [], 'pings were lost');
      assert.equal(counted.arrived, counted.sent, 'datagrams were lost or doubled');
      assert.equal(pinged.outOfOrder, 0, 'answers came out of order');
      assert.ok(streamed.open, 'the connection was cut');
      assert.ok(streamed.inOrder, 'the stream has a gap');
      assert.equal((await witness()).errors, 0, 'memory is damaged');
      assert.equal((await region.cloud.vm(vm.instanceId)).state, 'running');
    });

  it('ends with exactly one running VM when the processors die in mid-copy', async () => {
    const round = (await witness()).round;
    const asked = region.pando('migrate', vm.instanceId).catch(() => undefined);
    await until('the target to wait for memory', () => vmmsOf(vm.instanceId).length === 2, 60_000);
    for (const victim of (await processesOf(region.directory)).filter((each) => each.kind === 'cell'))
      process.kill(victim.pid, 'SIGKILL');
    await asked;
    await until('the processors to be back', async () =>
      (await processesOf(region.directory))
        .filter((each) => each.kind === 'cell')
        .every((each) => each.ready),
    );
    await until('one copy', () => vmmsOf(vm.instanceId).length === 1);
    await guest.answers();
    await until('its memory to be verified on', async () => (await witness()).round > round);
    assert.equal((await witness()).errors, 0);
    await until('the API to agree', async () => (await region.cloud.vm(vm.instanceId)).state === 'running');
    assert.equal(vmmsOf(vm.instanceId).length, 1);
    await until('the VM to be free for another migration', () => migrate().then(() => true));
  });
});
