/** What every host must do, simulated or real: the same checks run against both. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { VmReport } from '#contracts/host.ts';
import { newId } from '#contracts/ids.ts';

import { codeOf, type HostUnderTest, Subject, timeoutMs } from './host-contract.subject.ts';

export type { HostUnderTest } from './host-contract.subject.ts';

/** Of reports during one launch. */
const askedMax = 10_000;

/** Runs the checks against the host that `host()` gives once the suite's own `before` has run. */
export const hostContractSuite = (name: string, host: () => HostUnderTest): void => {
  const check = (what: string, work: (subject: Subject) => Promise<void>): void => {
    test(`${name}: ${what}`, async () => {
      const subject = new Subject(host());
      try {
        await work(subject);
      } finally {
        // A workflow of its own: a record of the case must not answer for this.
        const command = { workflowId: newId('workflow'), step: 'clear', epoch: 1, generation: 1_000 };
        await host().caller.call('vm.destroy', { command, instanceId: subject.instanceId }, { timeoutMs });
      }
    });
  };

  check('image, network, launch; then running; destroyed, then absent', async (subject) => {
    await subject.image();
    const network = await subject.network();
    assert.equal(network.administrative.kind, 'administrative');
    assert.equal(network.vpc.kind, 'vpc');
    assert.ok(
      [network.administrative, network.vpc].some(({ ranOn }) => ranOn === 'card'),
      'one ran on the card (S1.2)',
    );
    assert.equal((await subject.launch(network)).state, 'running');
    assert.equal(await subject.state(), 'running');
    await subject.destroy();
    assert.equal(await subject.state(), 'absent');
  });

  check('a repeated step is answered from its record, and done once', async (subject) => {
    assert.deepEqual(await subject.image(), await subject.image());
    const [first, second] = [await subject.network(), await subject.network()];
    assert.deepEqual(first, second);
    await subject.launch(first);
    assert.equal((await subject.launch(first)).state, 'running');
  });

  check('an older epoch of a workflow commands no more', async (subject) => {
    await subject.image('image', 5);
    assert.equal(await codeOf(subject.image('image-late', 4)), 'StaleEpoch');
    const network = await subject.network('network', 6);
    assert.equal(await codeOf(subject.launch(network, 'launch', 5)), 'StaleEpoch');
    assert.notEqual(await subject.state(), 'running');
  });

  check(
    'a host with VMs is not given to another cell, and no order under an old generation is obeyed',
    async (subject) => {
      await subject.image();
      await subject.launch(await subject.network());
      const to = { cellId: 'cell-elsewhere', cellNumber: 4_000 };
      const rehome = (generation: number) =>
        codeOf(host().caller.call('host.rehome', { to, generation }, { timeoutMs }));
      assert.equal(await rehome(2), 'IncorrectState');
      assert.equal(await rehome(1), 'InvalidParameterValue', 'the first pin is generation 1');
      assert.equal(await subject.state(), 'running', 'its own cell is obeyed on');
    },
  );

  check('a launch without network is refused (S1.4)', async (subject) => {
    await subject.image();
    const operation = {
      operationId: 'none',
      kind: 'vpc' as const,
      ranOn: 'card' as const,
      at: new Date().toISOString(),
    };
    const forged = { administrative: { ...operation, kind: 'administrative' as const }, vpc: operation };
    assert.notEqual(await codeOf(subject.launch(forged)), 'ok');
    assert.notEqual(await subject.state(), 'running');
  });

  check('stopped with its network detached, it starts again on its disk', async (subject) => {
    const { caller } = host();
    await subject.image();
    await subject.launch(await subject.network());
    const { instanceId } = subject;
    await caller.call(
      'vm.stop',
      { command: subject.command('stop'), instanceId, force: true, graceMs: 0 },
      { timeoutMs },
    );
    assert.equal(await subject.state(), 'stopped');
    await caller.call('vm.detachNetwork', { command: subject.command('detach'), instanceId }, { timeoutMs });
    const network = await subject.network('network-again');
    assert.equal((await subject.launch(network, 'launch-again')).state, 'running');
  });

  check(
    'one that has lost its network before it had a disk is known until it is destroyed',
    async (subject) => {
      const { caller } = host();
      await subject.network();
      const { instanceId } = subject;
      await caller.call(
        'vm.detachNetwork',
        { command: subject.command('detach'), instanceId },
        { timeoutMs },
      );
      assert.equal(await subject.state(), 'preparing');
      await caller.call('vm.destroy', { command: subject.command('destroy'), instanceId }, { timeoutMs });
      assert.equal(await subject.state(), 'absent');
    },
  );

  check('no copy comes in over a disk that its guest ran on', async (subject) => {
    const { caller } = host();
    await subject.image();
    await subject.launch(await subject.network());
    const { instanceId } = subject;
    const stop = { command: subject.command('stop'), instanceId, force: true, graceMs: 0 };
    await caller.call('vm.stop', stop, { timeoutMs });
    const network = await subject.network('network-again');
    const requirement = { vcpus: 0.25, memoryMib: host().memoryMib, rootDiskMib: 256 };
    const copy = { command: subject.command('copy'), instanceId, requirement, image: host().image, network };
    const refused = caller.call('vm.launch', { ...copy, incoming: true }, { timeoutMs });
    assert.equal(await codeOf(refused), 'IncorrectState');
    assert.equal((await subject.launch(network, 'launch-again', 1, true)).state, 'running');
  });

  check('a VMM that is killed has not shut itself down, and keeps its disk', async (subject) => {
    await subject.run();
    await host().killVmm(subject.instanceId);
    const { state, ended } = await subject.ended();
    assert.equal(state, 'stopped');
    assert.equal(ended?.cause, 'killed');
    assert.ok(ended && !Number.isNaN(Date.parse(ended.at)));
    // What took over is a new life: the end of the last one is not told any more.
    const network = await subject.network('network-again');
    assert.equal((await subject.launch(network, 'launch-again', 1, true)).state, 'running');
    const { caller } = host();
    const again = await caller.call('vm.describe', { instanceId: subject.instanceId });
    assert.deepEqual([again.state, again.ended], ['running', undefined]);
  });

  check('a guest that powers itself off has shut itself down', async (subject) => {
    await subject.run();
    await host().guestShutdown(subject.instanceId);
    const { state, ended } = await subject.ended();
    assert.deepEqual([state, ended?.cause], ['stopped', 'guest-shutdown']);
    // Being told to stop what has stopped changes nothing about why.
    const { instanceId } = subject;
    const stop = { command: subject.command('stop-late'), instanceId, force: true, graceMs: 0 };
    await host().caller.call('vm.stop', stop, { timeoutMs });
    assert.equal((await subject.ended()).ended?.cause, 'guest-shutdown');
  });

  check('a stop that was asked for is told as such', async (subject) => {
    await subject.run();
    const { instanceId } = subject;
    const stop = { command: subject.command('stop'), instanceId, force: true, graceMs: 0 };
    await host().caller.call('vm.stop', stop, { timeoutMs });
    assert.equal((await subject.ended()).ended?.cause, 'requested');
  });

  check('a VM that runs tells how it is: running, and what is known of its guest', async (subject) => {
    await subject.run();
    const { health } = await subject.health(({ runState }) => runState === 'running');
    assert.equal(health?.noSpace, false);
    assert.equal(health?.resets, 0);
    await subject.destroy();
    const { health: gone } = await subject.host.caller.call('vm.describe', {
      instanceId: subject.instanceId,
    });
    assert.equal(gone, undefined);
  });

  check(
    'of a guest that has not begun no health is told, and never that it stands still',
    async (subject) => {
      await subject.image();
      const network = await subject.network();
      const launched = subject.launch(network);
      let isUp = false;
      const ended = launched.finally(() => {
        isUp = true;
      });
      const told: VmReport[] = [];
      // Asked as often as it answers: a report may be taken at any moment of a launch.
      for (let turn = 0; !isUp && turn < askedMax; turn++)
        told.push(
          await subject.host.caller.call('vm.describe', { instanceId: subject.instanceId }, { timeoutMs }),
        );
      await ended;
      for (const { state, health } of told)
        if (state === 'running') assert.equal(health?.runState ?? 'running', 'running');
        else assert.equal(health, undefined, `told of one that is ${state}`);
      await subject.health(({ runState }) => runState === 'running');
    },
  );

  check('a VMM that stands still is told of, and a reboot lets its guest run', async (subject) => {
    subject.next(1);
    await subject.running();
    await host().pauseVmm(subject.instanceId);
    const { state } = await subject.health(({ runState }) => runState === 'paused');
    assert.equal(state, 'paused');
    await subject.reboot();
    await subject.health(({ runState }) => runState === 'running');
    assert.equal(await subject.state(), 'running');
  });

  check('a VMM that stands still is stopped as any other, asked or by force', async (subject) => {
    subject.next(1);
    await subject.running();
    await host().pauseVmm(subject.instanceId);
    const { instanceId } = subject;
    const stop = { command: subject.command('stop-asked'), instanceId, force: false, graceMs: 60_000 };
    assert.equal((await host().caller.call('vm.stop', stop, { timeoutMs: 20_000 })).state, 'stopped');
    assert.equal((await subject.ended()).ended?.cause, 'requested');
  });

  check('a launch that needs its disk gets no empty one', async (subject) => {
    await subject.image();
    const network = await subject.network();
    assert.equal(await codeOf(subject.launch(network, 'launch', 1, true)), 'IncorrectState');
    assert.notEqual(await subject.state(), 'running');
  });

  check('destroying what is not there is nothing to do', async (subject) => {
    await subject.destroy();
    await subject.destroy('destroy-again');
    assert.equal(await subject.state(), 'absent');
  });

  check('a late launch of an older epoch does not bring a destroyed VM back', async (subject) => {
    await subject.image();
    const network = await subject.network();
    await subject.launch(network);
    await subject.destroy('destroy', 2);
    assert.notEqual(await codeOf(subject.launch(network, 'launch-late', 1)), 'ok');
    assert.equal(await subject.state(), 'absent');
  });

  /** Every command of a former owner, each refused. */
  const refusesAll = async (
    subject: Subject,
    network: Awaited<ReturnType<Subject['network']>>,
    epoch = 1,
  ) => {
    const commands = {
      image: () => subject.image('late-image', epoch),
      network: () => subject.network('late-network', epoch),
      launch: () => subject.launch(network, 'late-launch', epoch),
      stop: () => subject.stop('late-stop', epoch),
      detach: () => subject.detach('late-detach', epoch),
      reboot: () => subject.reboot('late-reboot', epoch),
      destroy: () => subject.destroy('late-destroy', epoch),
      ...subject.moves(epoch),
    };
    for (const [name, command] of Object.entries(commands))
      assert.equal(await codeOf(command()), 'StaleEpoch', name);
  };

  check('a lower generation commands no more, whatever workflow and epoch it has', async (subject) => {
    subject.next(3);
    const network = await subject.running();
    const newest = subject.author;
    for (const generation of [2, 1, 0]) {
      subject.next(generation);
      await refusesAll(subject, network, 99);
    }
    assert.equal(await subject.state(), 'running');
    assert.ok(await subject.attached());
    await subject.as(newest, () => subject.reboot());
  });

  check(
    'of one generation the first workflow that is heard has it; its older owners are refused',
    async (subject) => {
      subject.next(3);
      const network = await subject.running();
      const owner = subject.author;
      subject.next(3);
      const { reboot: _, ...others } = {
        stop: () => subject.stop(),
        detach: () => subject.detach(),
        destroy: () => subject.destroy(),
        ...subject.moves(),
        reboot: () => subject.reboot(),
      };
      for (const [name, command] of Object.entries(others))
        assert.equal(await codeOf(command()), 'StaleEpoch', name);
      await subject.as(owner, async () => {
        await subject.network('again', 4);
        await refusesAll(subject, network, 3);
      });
      assert.equal(await subject.state(), 'running');
      assert.ok(await subject.attached());
    },
  );

  check(
    'a reboot takes nothing: refused under a lower generation, else the owner commands on',
    async (subject) => {
      subject.next(3);
      await subject.running();
      const owner = subject.author;
      for (const generation of [3, 5]) {
        subject.next(generation);
        await subject.reboot();
      }
      assert.equal(
        await codeOf(subject.as(owner, () => subject.stop('after'))),
        'StaleEpoch',
        'of 3, after 5',
      );
      subject.next(5);
      await subject.stop('owner');
      assert.equal(await subject.state(), 'stopped');
      subject.next(4);
      assert.equal(await codeOf(subject.reboot()), 'StaleEpoch');
    },
  );

  check(
    'metadata of a running VM is changed by whoever owns it or nobody; an earlier decision is refused',
    async (subject) => {
      subject.next(3);
      await subject.running();
      const owner = subject.author;
      const keyName = async (): Promise<string | undefined> =>
        (await host().caller.call('vm.inspect', { instanceId: subject.instanceId })).metadata?.keyName;
      subject.next(3);
      await subject.updateMetadata(7, 'seven');
      assert.equal(await keyName(), 'seven');
      subject.next(3);
      assert.equal(await codeOf(subject.updateMetadata(6, 'six')), 'StaleEpoch');
      await subject.updateMetadata(7, 'seven again');
      assert.equal(await keyName(), 'seven again');
      subject.next(2);
      assert.equal(await codeOf(subject.updateMetadata(8, 'late')), 'StaleEpoch');
      assert.equal(await keyName(), 'seven again');
      // It takes nothing: the workflow that has the instance commands on.
      await subject.as(owner, () => subject.stop('after'));
      await subject.as(owner, () => subject.detach('after-that'));
      subject.next(3);
      assert.equal(await codeOf(subject.updateMetadata(9, 'stopped')), 'IncorrectInstanceState');
    },
  );

  check(
    'a higher generation takes the instance, from whatever workflow, and stays with it',
    async (subject) => {
      subject.next(1);
      const network = await subject.running();
      const launched = subject.author;
      subject.next(2);
      await subject.stop();
      const stopped = subject.author;
      subject.next(4);
      const again = await subject.network('start-network');
      assert.equal((await subject.launch(again, 'start')).state, 'running');
      for (const former of [launched, stopped]) await subject.as(former, () => refusesAll(subject, network));
      assert.equal(await subject.state(), 'running');
    },
  );

  check('a destroyed VM’s generation is remembered: no late command brings it back', async (subject) => {
    subject.next(1);
    const network = await subject.running();
    const launched = subject.author;
    subject.next(2);
    await subject.destroy();
    await subject.as(launched, () => refusesAll(subject, network, 9));
    subject.next(2);
    assert.equal(await codeOf(subject.network('other')), 'StaleEpoch');
    assert.equal(await subject.state(), 'absent');
    assert.equal(await subject.attached(), false);
  });

  check('what is heard of a VM that is not here is remembered too', async (subject) => {
    const late = { workflowId: newId('workflow'), generation: 1 };
    subject.next(2);
    const tell = [() => subject.stop(), () => subject.detach(), () => subject.destroy()];
    for (const [at, command] of tell.entries()) {
      subject.next(2 + at);
      await command();
      assert.equal(await codeOf(subject.as(late, () => subject.network(`late-${at}`))), 'StaleEpoch');
    }
    assert.equal(await subject.state(), 'absent');
    assert.equal(await subject.attached(), false);
  });

  check('a VM that went and came back obeys its newest generation alone', async (subject) => {
    subject.next(1);
    const network = await subject.running();
    const first = subject.author;
    subject.next(2);
    await subject.destroy();
    const second = subject.author;
    subject.next(3);
    assert.equal((await subject.launch(await subject.network(), 'back')).state, 'running');
    for (const former of [first, second]) await subject.as(former, () => refusesAll(subject, network, 7));
    assert.equal(await subject.state(), 'running');
    const report = await subject.host.caller.call('vm.describe', { instanceId: subject.instanceId });
    assert.equal(report.generation, 3, 'and tells it');
  });

  check(
    'commands without a generation (the last release) are judged by their workflow’s epoch',
    async (subject) => {
      subject.next(3);
      await subject.running();
      subject.next(undefined);
      await subject.stop('stop', 2);
      assert.equal(await codeOf(subject.detach('late', 1)), 'StaleEpoch');
      await subject.detach('detach', 2);
      assert.equal(await subject.state(), 'stopped');
      subject.next(2);
      assert.equal(await codeOf(subject.destroy()), 'StaleEpoch', 'the generation is still known');
    },
  );

  check('commands to VMs that are not here: nothing to end, NotFound for what needs one', async (subject) => {
    subject.next(1);
    assert.equal((await subject.stop()).state, 'absent');
    await subject.detach();
    for (const [name, command] of Object.entries({ reboot: () => subject.reboot(), ...subject.moves() })) {
      if (name === 'card') continue;
      assert.equal(await codeOf(command()), 'NotFound', name);
    }
    assert.equal(await subject.state(), 'absent');
  });

  check('a VM that runs keeps its network', async (subject) => {
    subject.next(1);
    await subject.running();
    assert.equal(await codeOf(subject.detach()), 'IncorrectInstanceState');
    assert.ok(await subject.attached());
    await subject.stop();
    await subject.detach();
    assert.equal(await subject.attached(), false);
    assert.equal(await codeOf(subject.reboot()), 'IncorrectInstanceState');
    assert.equal(await subject.state(), 'stopped');
  });
};
