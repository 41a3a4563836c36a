/** An instance whose QEMU is killed is no instance that its guest has shut down, whatever it would do at a shutdown. */
import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import type { Network } from './support/cloud.ts';
import { startRegion, type TestRegion } from './support/region.ts';
import { until } from './support/until.ts';
import { vmmOf, vmmsOf } from './support/vmm.ts';

describe('an instance that terminates when its guest shuts down', { timeout: 10 * 60_000 }, () => {
  let region: TestRegion;
  let network: Network;

  before(async () => {
    region = await startRegion({ cells: 1, hostsPerCell: 1 });
    network = await region.cloud.network('10.61.0.0/16', [22, 80]);
  });
  after(() => region?.[Symbol.asyncDispose]());

  it('survives kill -9 of its QEMU with its disk and its address, and ends when its guest powers off', async () => {
    const { cloud } = region;
    const [machine] = await cloud.start({ network });
    assert.ok(machine);
    const { vm, guest } = machine;
    await cloud.ec2.call('ModifyInstanceAttribute', {
      InstanceId: vm.instanceId,
      'InstanceInitiatedShutdownBehavior.Value': 'terminate',
    });
    await guest.run('echo kept > /root/kept || echo kept > /kept; sync');
    const { pid } = vmmOf(vm.instanceId);
    process.kill(pid, 'SIGKILL');
    await until('another VMM runs it', () => vmmsOf(vm.instanceId).some((vmm) => vmm.pid !== pid));
    await guest.ready();
    assert.match(
      await guest.run('cat /root/kept /kept 2>/dev/null || true'),
      /kept/,
      'the disk is the one that it had',
    );
    assert.equal((await cloud.vm(vm.instanceId)).state, 'running');
    // The connection ends with the guest.
    await guest.run('poweroff').catch(() => undefined);
    await cloud.reach('terminated', [vm.instanceId]);
    assert.deepEqual(vmmsOf(vm.instanceId), []);
    assert.match(await region.pando('vm', 'list', '--quarantined'), /No VM is in quarantine/);
  });
});
