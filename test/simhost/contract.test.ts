/** The simulated host passes what every host must do, and keeps the rules of migration. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { PandoError } from '#contracts/errors.ts';
import { SimCaller } from '#simhost/caller.ts';
import { SimHost } from '#simhost/sim-host.ts';
import { SimWorld } from '#simhost/world.ts';
import { hostContractSuite } from '../host-contract.suite.ts';
import { hostRebuildSuite, type RebuiltHost } from '../host-rebuild.suite.ts';

const zone = 'z';
const host = new SimHost({ hostId: 'h-1', zone, vtep: '198.18.1.11', world: new SimWorld() });
let stream = new SimCaller(host, { checked: true });
/** A host whose agent begins anew dials again. */
const caller: RebuiltHost['caller'] = {
  call: async (method, params, options) => {
    try {
      return await stream.call(method, params, options);
    } catch (error) {
      if (PandoError.from(error).code === 'HostUnreachable') stream = new SimCaller(host, { checked: true });
      throw error;
    }
  },
};
const image = { imageId: 'ami-00000000000000001', digest: 'sha256:x' };

const underTest = (): RebuiltHost => ({
  ...{ caller, vtep: '198.18.1.11', image, memoryMib: 64 },
  killVmm: (instanceId) => host.killVmm(instanceId),
  pauseVmm: (instanceId) => host.pauseVmm(instanceId),
  guestShutdown: (instanceId) => host.guestShutdown(instanceId),
  guestAnswers: () => undefined,
});

hostContractSuite('simulated host', underTest);
hostRebuildSuite('simulated host', underTest);

const codeOf = (work: Promise<unknown>): Promise<string> =>
  work.then(
    () => 'ok',
    (error: unknown) => PandoError.from(error).code,
  );

const describe = (to: SimCaller) => to.call('vm.describe', { instanceId: 'i-none' }, { timeoutMs: 50 });

test('ordered faults: fail, hang, crash before and after; then the host works again', async () => {
  const target = new SimHost({ hostId: 'h-2', zone, vtep: '198.18.1.12', world: new SimWorld() });
  const first = new SimCaller(target);
  target.faults.order('vm.describe', { kind: 'fail' });
  assert.equal(await codeOf(describe(first)), 'InternalError');
  target.faults.order('vm.describe', { kind: 'hang' });
  assert.equal(await codeOf(describe(first)), 'DeadlineExceeded');
  assert.equal(await codeOf(describe(first)), 'ok');
  target.faults.order('vm.describe', { kind: 'crash-before' });
  assert.equal(await codeOf(describe(first)), 'HostUnreachable');
  assert.equal(await codeOf(describe(first)), 'HostUnreachable', 'the stream is gone');
  const second = new SimCaller(target);
  const ensure = { command: { workflowId: 'wf', step: 's', epoch: 1 }, instanceId: 'i-none', image };
  target.faults.order('vm.ensureImage', { kind: 'crash-after' });
  assert.equal(await codeOf(second.call('vm.ensureImage', ensure)), 'HostUnreachable');
  assert.ok(target.images.has(image.digest), 'it was done, only the answer was lost');
  const third = new SimCaller(target);
  target.faults.order('vm.ensureImage', { kind: 'duplicate' });
  assert.deepEqual(await third.call('vm.ensureImage', ensure), { fetched: true }, 'answered from the record');
  assert.equal(target.calls.get('vm.ensureImage'), 1);
});
