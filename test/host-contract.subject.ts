/** One VM on a host under test, and the commands about it: what the host contract's checks are written with. */
import assert from 'node:assert/strict';
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

export const timeoutMs = 180_000;

export const codeOf = (work: Promise<unknown>): Promise<string> =>
  work.then(
    () => 'ok',
    (error: unknown) => PandoError.from(error).code,
  );

/** One VM's commands under one workflow. */
export class Subject {
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

  updateMetadata(revision: number, keyName: string, step = `metadata-${revision}`, epoch = 1) {
    const params = { command: this.command(step, epoch), instanceId: this.instanceId, revision };
    const metadata = { ...this.metadata(), keyName };
    return this.host.caller.call('vm.updateMetadata', { ...params, metadata }, { timeoutMs });
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
