/** What every host must do while it is rebuilt, simulated or real: the same checks run against both. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setTimeout as pause } from 'node:timers/promises';
import { PandoError } from '#contracts/errors.ts';
import { newId } from '#contracts/ids.ts';
import {
  type HostCondition,
  type HostRebuildStep,
  type HostWanted,
  hostRebuildSteps,
  layoutDigest,
  networkAsConfigured,
  type StepOutcome,
} from '#contracts/rebuild.ts';
import { codeOf, type HostUnderTest, Subject, timeoutMs } from './host-contract.subject.ts';

export interface RebuiltHost extends HostUnderTest {
  /** The guest behind this interface is heard from now on. */
  guestAnswers(eniId: string): void;
}

const order = hostRebuildSteps.filter((step) => step !== 'reopen');
/** Generations of hosts in this file: each rebuild has one of its own. */
let generations = 1;

class Rebuild {
  readonly workflowId = newId('workflow');
  generation = ++generations;
  readonly host: RebuiltHost;

  constructor(host: RebuiltHost) {
    this.host = host;
  }

  step(step: HostRebuildStep, wanted: HostWanted = {}, epoch = 1): Promise<StepOutcome> {
    const command = { workflowId: this.workflowId, step, epoch, generation: this.generation };
    return this.host.caller.call('rebuild.step', { command, step, wanted }, { timeoutMs });
  }

  /** As its cell does: what cannot be reached is asked again. */
  async carried(step: HostRebuildStep, wanted: HostWanted = {}): Promise<StepOutcome> {
    const until = Date.now() + timeoutMs;
    for (;;)
      try {
        return await this.step(step, wanted);
      } catch (error) {
        const failure = PandoError.from(error);
        assert.ok(failure.class === 'unreachable' && Date.now() < until, `${step}: ${failure.message}`);
        await pause(20);
      }
  }

  condition(): Promise<HostCondition> {
    return this.host.caller.call('rebuild.condition', {});
  }
}

const takesVms = async (host: RebuiltHost): Promise<string> => {
  const subject = new Subject(host);
  subject.next(1);
  try {
    return await codeOf(subject.image().then(() => subject.network()));
  } finally {
    subject.next(2);
    await subject.destroy();
  }
};

/** Runs the checks against the host that `host()` gives; nothing is on it before and after each. */
export const hostRebuildSuite = (name: string, host: () => RebuiltHost): void => {
  const check = (what: string, work: (rebuild: Rebuild) => Promise<void>): void => {
    test(`${name}: ${what}`, async () => {
      try {
        await work(new Rebuild(host()));
      } finally {
        await new Rebuild(host()).carried('reopen');
      }
    });
  };

  check('what is there is not scrubbed, whatever state it is in, and stays as it is', async (rebuild) => {
    const subject = new Subject(host());
    subject.next(1);
    try {
      await subject.running();
      for (const state of ['running', 'stopped'] as const) {
        if (state === 'stopped') await subject.stop();
        const { ok, detail } = await rebuild.step('verifyEmpty');
        assert.equal(ok, false);
        assert.match(detail, new RegExp(subject.instanceId));
        assert.equal(await codeOf(rebuild.step('scrub')), 'IncorrectState');
        assert.equal(await subject.state(), state);
        assert.equal(await takesVms(host()), 'ok', 'it is not being rebuilt');
      }
    } finally {
      subject.next(9);
      await subject.destroy();
    }
  });

  check('a scrub asks for the proof, and for that of its own generation', async (rebuild) => {
    assert.equal(await codeOf(rebuild.step('scrub')), 'IncorrectState');
    assert.equal((await rebuild.step('verifyEmpty')).ok, true);
    const later = new Rebuild(host());
    assert.equal(await codeOf(later.step('scrub')), 'IncorrectState', 'proved under another');
    assert.equal(await codeOf(rebuild.step('scrub')), 'StaleEpoch', 'and its owner commands no more');
    assert.equal((await later.step('verifyEmpty')).ok, true);
    assert.equal((await later.step('scrub')).ok, true);
  });

  check('a former owner’s step is refused, and changes nothing', async (rebuild) => {
    await rebuild.step('verifyEmpty', {}, 3);
    assert.equal(await codeOf(rebuild.step('reopen', {}, 2)), 'StaleEpoch');
    assert.equal(await takesVms(host()), 'IncorrectState', 'it is still closed');
    const former = new Rebuild(host());
    former.generation = rebuild.generation - 1;
    assert.equal(await codeOf(former.step('isolate')), 'StaleEpoch');
    await rebuild.step('reopen', {}, 3);
    assert.equal(await takesVms(host()), 'ok');
  });

  check(
    'every step in its order, each of them twice; then it is as was asked, and takes VMs',
    async (rebuild) => {
      const before = await rebuild.condition();
      const subject = new Subject(host());
      const { eniId } = subject.port;
      host().guestAnswers(eniId);
      const wanted: HostWanted = {
        layout: { vcpuOversubscription: 2 },
        validation: {
          ...{ instanceId: subject.instanceId, image: host().image, vpc: subject.vpc(), port: subject.port },
          requirement: { vcpus: 1, memoryMib: host().memoryMib, rootDiskMib: 256 },
          metadata: subject.metadata(),
        },
      };
      for (const step of order) {
        for (const time of ['first', 'again']) {
          const { ok, detail } = await rebuild.carried(step, wanted);
          assert.ok(ok, `${step}, ${time}: ${detail}`);
        }
        if (step !== 'returnToService') assert.equal(await takesVms(host()), 'IncorrectState', step);
      }
      const after = await rebuild.condition();
      assert.notEqual(after.lives, before.lives, 'agent and card began anew');
      assert.equal(after.layout, layoutDigest(wanted.layout));
      assert.equal(after.network, networkAsConfigured);
      assert.deepEqual(after.dirty, []);
      assert.deepEqual(await rebuild.condition(), after, 'and it stays so');
      assert.equal(await subject.state(), 'absent', 'the VM of its own is gone');
      assert.deepEqual((await host().caller.call('host.describe', {})).vms, []);
      assert.equal(await takesVms(host()), 'ok');
    },
  );
};
