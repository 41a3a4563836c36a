import assert from 'node:assert/strict';
import { it } from 'node:test';
import { machineUuid, type QemuPlan, qemuArgs } from '#agent/qemu-command.ts';

const plan: QemuPlan = {
  instanceId: 'i-0123456789abcdef0',
  accelerator: 'tcg',
  vcpus: 0.25,
  memoryMib: 128,
  nic: { tap: 'xt0', mac: '02:00:00:00:00:01', mtu: 1450 },
  kernel: { kernel: 'vmlinuz', initrd: 'initrd', cmdline: 'root=/dev/vda quiet' },
  incoming: false,
};
const after = (args: readonly string[], option: string): string | undefined => args[args.indexOf(option) + 1];

it('gives a fraction of a CPU one whole processor, and starts nothing by itself', () => {
  const args = qemuArgs(plan);
  assert.equal(after(args, '-smp'), '1');
  assert.equal(after(qemuArgs({ ...plan, vcpus: 1.5 }), '-smp'), '2');
  assert.ok(args.includes('-S'));
  assert.match(after(args, '-sandbox') ?? '', /elevateprivileges=deny,spawn=deny/);
  assert.equal(after(args, '-append'), 'root=/dev/vda quiet');
  assert.equal(after(args, '-kernel'), '/base/vmlinuz');
});

it('is the same machine on both sides of a migration', () => {
  const target = qemuArgs({ ...plan, incoming: true });
  assert.deepEqual(target.slice(-2), ['-incoming', 'defer']);
  assert.deepEqual(target.slice(0, -2), qemuArgs(plan));
});

it('boots from the disk where the image has no kernel beside it', () => {
  assert.ok(!qemuArgs({ ...plan, kernel: undefined }).includes('-kernel'));
});

it('has a UUID like an EC2 instance, of its own', () => {
  assert.match(machineUuid('i-1'), /^ec2[0-9a-f]{5}-[0-9a-f]{4}-4[0-9a-f]{3}-8[0-9a-f]{3}-[0-9a-f]{12}$/);
  assert.notEqual(machineUuid('i-1'), machineUuid('i-2'));
});
