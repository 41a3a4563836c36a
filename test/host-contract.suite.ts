/** What every host must do, simulated or real: the same checks run against both. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setTimeout } from 'node:timers/promises';
import type { Caller } from '#base/rpc/contract.ts';
import { cardContract } from '#contracts/card.ts';
import { PandoError } from '#contracts/errors.ts';
import type { CommandKey, hostContract, ImageRef, VmReport, VmState } from '#contracts/host.ts';
import { type Id, newId } from '#contracts/ids.ts';
import type { VmMetadata, VpcPort, VpcState } from '#contracts/network.ts';

export interface HostUnderTest {
  readonly caller: Caller<typeof hostContract>;
  readonly vtep: string;
  /** An image that the host can obtain. */
  readonly image: ImageRef;
  readonly memoryMib: number;
  /** Kills the VM's VMM as `kill -9` does. */
  killVmm(instanceId: string): Promise<void> | void;
  /** Makes the guest power itself off. */
  guestShutdown(instanceId: string): Promise<void> | void;
}

const timeoutMs = 180_000;

const codeOf = (work: Promise<unknown>): Promise<string> =>
  work.then(
    () => 'ok',
    (error: unknown) => PandoError.from(error).code,
  );

/** One VM's commands under one workflow. */
class Subject {
  readonly instanceId = newId('instance');
  readonly vpcId = newId('vpc');
  readonly port: VpcPort;
  workflowId = newId('workflow');
  /** Carried by the commands that follow; undefined: as a cell of the last release sends them. */
  generation: number | undefined;
  readonly host: HostUnderTest;

  constructor(host: HostUnderTest) {
    this.host = host;
    this.port = {
      eniId: newId('networkInterface'),
      instanceId: this.instanceId,
      mac: '06:12:34:56:78:9a',
      ip: '10.9.0.10',
      subnetId: newId('subnet'),
      groupIds: [],
      sourceDestCheck: true,
      vtep: host.vtep,
      epoch: 2,
    };
  }

  command(step: string, epoch = 1): CommandKey {
    const { workflowId, generation } = this;
    return { workflowId, step, epoch, ...(generation === undefined ? {} : { generation }) };
  }

  /** What another workflow, of this generation, says from now on. */
  next(generation: number | undefined): void {
    this.workflowId = newId('workflow');
    this.generation = generation;
  }

  /** Commands as that workflow of that generation, then as before. */
  async as<T>(
    former: { workflowId: Id<'workflow'>; generation: number | undefined },
    work: () => Promise<T>,
  ) {
    const { workflowId, generation } = this;
    Object.assign(this, former);
    try {
      return await work();
    } finally {
      Object.assign(this, { workflowId, generation });
    }
  }

  get author(): { workflowId: Id<'workflow'>; generation: number | undefined } {
    const { workflowId, generation } = this;
    return { workflowId, generation };
  }

  vpc(): VpcState {
    const { subnetId } = this.port;
    return {
      vpcId: this.vpcId,
      vni: 4_242,
      version: 1,
      cidrs: ['10.9.0.0/16'],
      subnets: [{ subnetId, cidr: '10.9.0.0/24', router: '10.9.0.1', routes: [] }],
      groups: [],
      ports: [this.port],
      dnsServers: [],
      domainName: 'test.internal',
      mtu: 1450,
    };
  }

  metadata(): VmMetadata {
    return {
      instanceId: this.instanceId,
      accountId: '111122223333',
      imageId: this.host.image.imageId,
      instanceType: 'p1.micro',
      reservationId: newId('reservation'),
      launchIndex: 0,
      hostname: 'ip-10-9-0-10.test.internal',
      availabilityZone: 'test-1a',
      region: 'test-1',
      httpTokens: 'optional',
      httpEndpoint: 'enabled',
      hopLimit: 1,
      launchTime: new Date().toISOString(),
    };
  }

  image(step = 'image', epoch = 1) {
    const { instanceId, host } = this;
    const params = { command: this.command(step, epoch), instanceId, image: host.image };
    return host.caller.call('vm.ensureImage', params, { timeoutMs });
  }

  network(step = 'network', epoch = 1) {
    return this.host.caller.call(
      'vm.prepareNetwork',
      {
        command: this.command(step, epoch),
        instanceId: this.instanceId,
        vpc: this.vpc(),
        port: this.port,
        metadata: this.metadata(),
        activate: true,
      },
      { timeoutMs },
    );
  }

  launch(
    network: Awaited<ReturnType<Subject['network']>>,
    step = 'launch',
    epoch = 1,
    diskRequired?: boolean,
  ) {
    const { instanceId, host } = this;
    const requirement = { vcpus: 0.25, memoryMib: host.memoryMib, rootDiskMib: 256 };
    const params = {
      command: this.command(step, epoch),
      instanceId,
      requirement,
      image: host.image,
      network,
      incoming: false,
      diskRequired,
    };
    return host.caller.call('vm.launch', params, { timeoutMs });
  }

  destroy(step = 'destroy', epoch = 1) {
    const params = { command: this.command(step, epoch), instanceId: this.instanceId };
    return this.host.caller.call('vm.destroy', params, { timeoutMs });
  }

  stop(step = 'stop', epoch = 1) {
    const params = { command: this.command(step, epoch), instanceId: this.instanceId };
    return this.host.caller.call('vm.stop', { ...params, force: true, graceMs: 0 }, { timeoutMs });
  }

  detach(step = 'detach', epoch = 1) {
    const params = { command: this.command(step, epoch), instanceId: this.instanceId };
    return this.host.caller.call('vm.detachNetwork', params, { timeoutMs });
  }

  reboot(step = 'reboot', epoch = 1) {
    const params = { command: this.command(step, epoch), instanceId: this.instanceId };
    return this.host.caller.call('vm.reboot', params, { timeoutMs });
  }

  /** Each of the commands of a migration, and a call to the card, that this host could be told about the instance. */
  moves(epoch = 1): Record<string, () => Promise<unknown>> {
    const { instanceId, host } = this;
    const order = (step: string) => ({ command: this.command(step, epoch), instanceId });
    const { caller } = host;
    const { eniId } = this.port;
    return {
      offer: () => caller.call('migrate.offer', order('offer')),
      start: () => caller.call('migrate.start', { ...order('start'), memoryUri: 'none:', diskUri: 'none:' }),
      progress: () => caller.call('migrate.progress', order('progress')),
      flush: () => caller.call('migrate.flush', order('flush')),
      switch: () => caller.call('migrate.switch', { ...order('switch'), budgetMs: 100 }),
      commission: () => caller.call('migrate.commission', order('commission')),
      confirm: () => caller.call('migrate.confirm', order('confirm')),
      cancel: () => caller.call('migrate.cancel', order('cancel')),
      card: () =>
        caller.call('card.call', { ...order('card'), method: 'card.detachPort', params: { eniId } }),
    };
  }

  /** A running VM, launched by this workflow. */
  async running(): Promise<Awaited<ReturnType<Subject['network']>>> {
    await this.image();
    const network = await this.network();
    await this.launch(network);
    return network;
  }

  /** What the card has of its port. */
  async attached(): Promise<boolean> {
    const { result } = await this.host.caller.call('card.call', { method: 'card.status', params: {} });
    return cardContract['card.status'].result
      .parse(result)
      .ports.some(({ eniId }) => eniId === this.port.eniId);
  }

  /** Image, network, launch; then it runs. */
  async run(): Promise<void> {
    await this.image();
    await this.launch(await this.network());
  }

  /** Resolves with what the host says of its end, once it has ended. */
  async ended(): Promise<VmReport> {
    const until = Date.now() + timeoutMs;
    for (;;) {
      const report = await this.host.caller.call('vm.describe', { instanceId: this.instanceId });
      if (report.state === 'stopped' || report.state === 'failed') return report;
      assert.ok(Date.now() < until, `it is still ${report.state}`);
      await setTimeout(10);
    }
  }

  async state(): Promise<VmState> {
    return (await this.host.caller.call('vm.describe', { instanceId: this.instanceId })).state;
  }
}

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
