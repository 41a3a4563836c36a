/** What every card must do, real or simulated: the same checks run against both. Packets are other tests' matter. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setTimeout } from 'node:timers/promises';
import type { Caller, Params } from '#base/rpc/contract.ts';
import type { cardContract } from '#contracts/card.ts';
import { PandoError } from '#contracts/errors.ts';
import { newId } from '#contracts/ids.ts';
import type { VmMetadata, VpcPort, VpcState } from '#contracts/network.ts';
import { cardPartsChecks } from './card-parts.suite.ts';

export interface CardUnderTest {
  readonly caller: Caller<typeof cardContract>;
  readonly vtep: string;
  /** Makes a tap in the card's namespace, for the VM behind `port`; answers its name. */
  tap(port: VpcPort): Promise<string>;
}

type Call = Parameters<CardUnderTest['caller']['call']>;

const codeOf = (work: Promise<unknown>): Promise<string> =>
  work.then(
    () => 'ok',
    (error: unknown) => PandoError.from(error).code,
  );

const elsewhere = '198.51.100.7';
const notFound = 'InvalidNetworkInterfaceID.NotFound';
let networks = 0;

/** One VPC with one port. */
export class Subject {
  readonly card: CardUnderTest;
  readonly vpcId = newId('vpc');
  readonly port: VpcPort;
  readonly #vni = 70_000 + networks++;
  #tap: string | undefined;

  constructor(card: CardUnderTest) {
    this.card = card;
    this.port = {
      eniId: newId('networkInterface'),
      instanceId: newId('instance'),
      mac: `06:00:00:00:00:${(networks % 250).toString(16).padStart(2, '0')}`,
      ip: '10.0.0.10',
      subnetId: 'subnet-a',
      groupIds: [],
      sourceDestCheck: true,
      vtep: card.vtep,
      epoch: 4,
    };
  }

  get eniId(): string {
    return this.port.eniId;
  }

  call<M extends keyof typeof cardContract>(method: M, params: Params<typeof cardContract, M>) {
    return this.card.caller.call(method, params);
  }

  state(version: number): VpcState {
    return {
      vpcId: this.vpcId,
      vni: this.#vni,
      version,
      cidrs: ['10.0.0.0/16'],
      subnets: [{ subnetId: 'subnet-a', cidr: '10.0.0.0/24', router: '10.0.0.1', routes: [] }],
      groups: [],
      ports: [this.port],
      dnsServers: [],
      domainName: 'test.internal',
      mtu: 1400,
    };
  }

  apply(version: number, from?: number) {
    return this.call('card.applyVpc', { state: this.state(version), from });
  }

  async tap(): Promise<string> {
    this.#tap ??= await this.card.tap(this.port);
    return this.#tap;
  }

  async attach(epoch = this.port.epoch, activate = true) {
    const port = { ...this.port, epoch };
    return this.call('card.attachPort', { vpcId: this.vpcId, port, tap: await this.tap(), activate });
  }

  administrative() {
    const metadata: VmMetadata = {
      ...{ instanceId: this.port.instanceId ?? '', accountId: '111122223333', imageId: newId('image') },
      ...{ instanceType: 'p1.micro', reservationId: newId('reservation'), launchIndex: 0 },
      ...{ hostname: 'ip-10-0-0-10', availabilityZone: 'test-1a', region: 'test-1' },
      ...{ httpTokens: 'required', httpEndpoint: 'enabled', hopLimit: 1 },
      launchTime: '2026-01-01T00:00:00Z',
    };
    const { vpcId, eniId } = this;
    return this.call('card.prepareAdministrative', { vpcId, eniId, metadata });
  }

  detach(forwardTo?: string) {
    return this.call('card.detachPort', { eniId: this.eniId, forwardTo });
  }

  openQueue() {
    const passTo = { ip: this.card.vtep, port: 4789 };
    return this.call('card.openQueue', { eniId: this.eniId, mode: 'buffer', passTo });
  }

  remove() {
    return this.call('card.removeVpc', { vpcId: this.vpcId });
  }

  /** What the card says that it has of this VPC. */
  async has(): Promise<{ version: number | undefined; epochs: number[] }> {
    const { vpcs, ports } = await this.call('card.status', {});
    return {
      version: vpcs.find(({ vpcId }) => vpcId === this.vpcId)?.version,
      epochs: ports.filter(({ vpcId }) => vpcId === this.vpcId).map(({ epoch }) => epoch),
    };
  }
}

/** Runs the checks against the card that `card()` gives once the suite's own `before` has run. */
export const cardContractSuite = (name: string, card: () => CardUnderTest): void => {
  const check = (what: string, work: (subject: Subject) => Promise<void>): void => {
    test(`${name}: ${what}`, async () => {
      const subject = new Subject(card());
      try {
        await work(subject);
      } finally {
        await subject.detach();
        // One that forwards stays, under an id that no other check has.
        assert.ok(['ok', 'Conflict'].includes(await codeOf(subject.remove())));
        assert.deepEqual((await subject.has()).epochs, []);
      }
    });
  };

  check('a VPC’s state: newer is taken, equal is nothing new, older is refused', async (subject) => {
    assert.deepEqual(await subject.apply(3), { version: 3 });
    assert.deepEqual(await subject.apply(3), { version: 3 });
    assert.equal(await codeOf(subject.apply(2)), 'StaleEpoch');
    assert.equal((await subject.has()).version, 3);
    assert.deepEqual(await subject.apply(7), { version: 7 }, 'versions may be left out');
  });

  check(
    'a change from a version that is not here is drift; repeated it is the same as once (S8.2)',
    async (subject) => {
      assert.equal(await codeOf(subject.apply(2, 1)), 'Conflict');
      assert.deepEqual(await subject.apply(2, 0), { version: 2 }, 'from nothing');
      assert.equal(await codeOf(subject.apply(4, 3)), 'Conflict');
      assert.deepEqual(await subject.apply(4, 2), { version: 4 });
      assert.deepEqual(await subject.apply(4, 2), { version: 4 }, 'its answer was lost');
      assert.equal(await codeOf(subject.apply(3, 2)), 'StaleEpoch');
    },
  );

  check('a VPC that was never declared takes no port', async (subject) => {
    assert.equal(await codeOf(subject.attach()), 'InvalidVpcID.NotFound');
    assert.deepEqual((await subject.has()).epochs, []);
    await subject.remove();
    const state = { ...subject.state(1), vpcId: '../vpc' };
    assert.equal(await codeOf(subject.call('card.applyVpc', { state })), 'InvalidParameterValue');
  });

  check('a port: attached, shown, repeated the same; detached, gone, repeated the same', async (subject) => {
    await subject.apply(1);
    assert.equal((await subject.administrative()).kind, 'administrative');
    const { kind, ranOn, mac } = await subject.attach();
    assert.deepEqual([kind, ranOn, mac], ['vpc', 'card', subject.port.mac]);
    await subject.administrative();
    await subject.attach();
    assert.deepEqual(await subject.has(), { version: 1, epochs: [4] });
    const counted = async () =>
      (await subject.call('card.counters', {})).ports.filter(({ eniId }) => eniId === subject.eniId).length;
    assert.equal(await counted(), 1);
    await subject.detach();
    await subject.detach();
    assert.deepEqual((await subject.has()).epochs, []);
    assert.equal(await counted(), 0);
  });

  check('of a port it tells since when it listens, and what it has heard of the guest', async (subject) => {
    const heard = async (probe: string[] = []) =>
      (await subject.call('card.heard', { probe })).ports.find(({ eniId }) => eniId === subject.eniId);
    await subject.apply(1);
    assert.equal(await heard([subject.eniId]), undefined, 'not attached: asking it is nothing to do');
    await subject.attach();
    const first = await heard();
    assert.ok(first && first.listenedMs >= 0);
    assert.deepEqual([first.dhcpMs, first.metadataMs, first.arpMs], [undefined, undefined, undefined]);
    const until = Date.now() + 60_000;
    let answered = await heard([subject.eniId]);
    while (answered?.arpMs === undefined && Date.now() < until) {
      await setTimeout(50);
      answered = await heard([subject.eniId]);
    }
    assert.ok(answered?.arpMs !== undefined && answered.arpMs <= answered.listenedMs, 'it answers ARP');
    await subject.attach();
    assert.ok((await heard())?.arpMs !== undefined, 'attached again, the same port');
    await subject.detach();
    assert.equal(await heard(), undefined);
    await subject.attach();
    assert.equal((await heard())?.arpMs, undefined, 'what was heard before the detachment is over');
  });

  check(
    'a port that is attached with a lower epoch than it has is refused; a higher one takes over',
    async (subject) => {
      await subject.apply(1);
      await subject.attach(4);
      assert.equal(await codeOf(subject.attach(3)), 'StaleEpoch');
      assert.equal(await codeOf(subject.attach(2, false)), 'StaleEpoch');
      assert.deepEqual((await subject.has()).epochs, [4]);
      await subject.attach(6);
      assert.deepEqual((await subject.has()).epochs, [6]);
      assert.equal(await codeOf(subject.attach(4)), 'StaleEpoch');
    },
  );

  check('a VPC with a port is not removed, and nothing of it is touched', async (subject) => {
    await subject.apply(2);
    await subject.attach();
    for (let n = 0; n < 2; n++) assert.equal(await codeOf(subject.remove()), 'Conflict');
    assert.deepEqual(await subject.has(), { version: 2, epochs: [4] });
    assert.equal(await codeOf(subject.apply(1)), 'StaleEpoch', 'it still knows its version');
    await subject.attach(5);
    await subject.detach();
    await subject.remove();
    assert.equal((await subject.has()).version, undefined);
    await subject.remove();
    assert.deepEqual(await subject.apply(1), { version: 1 }, 'forgotten, it begins anew');
  });

  check(
    'a VPC whose last port has moved away is not removed while others may still send for it',
    async (subject) => {
      await subject.apply(1);
      await subject.attach();
      await subject.detach('198.18.1.77');
      for (let n = 0; n < 2; n++) assert.equal(await codeOf(subject.remove()), 'Conflict');
      assert.deepEqual(await subject.has(), { version: 1, epochs: [] });
    },
  );

  check('of a removal and an attachment at once, one is refused whole', async (subject) => {
    for (let round = 0; round < 6; round++) {
      await subject.apply(round + 1);
      const calls = [() => subject.remove(), () => subject.attach()];
      const order = round % 2 === 0 ? calls : calls.reverse();
      const codes = await Promise.all(order.map((call) => codeOf(call())));
      const [removed, attached] = round % 2 === 0 ? codes : codes.reverse();
      const { version, epochs } = await subject.has();
      if (attached === 'ok') {
        assert.equal(removed, 'Conflict');
        assert.deepEqual([version, epochs], [round + 1, [4]]);
      } else {
        assert.deepEqual([removed, attached], ['ok', 'InvalidVpcID.NotFound']);
        assert.deepEqual([version, epochs], [undefined, []]);
      }
      await subject.detach();
    }
  });

  check('of a removal and a declaration at once, the declaration is not lost behind it', async (subject) => {
    for (let round = 1; round < 5; round++) {
      await subject.apply(2 * round);
      await Promise.all([subject.remove(), subject.apply(2 * round + 1)]);
      // Whichever was first: a card that answered a declaration after a removal has it.
      assert.equal((await subject.has()).version, 2 * round + 1);
      await subject.attach();
      await subject.detach();
    }
  });

  check(
    'of an interface that is not attached nothing can be moved, and its end is nothing to do',
    async (subject) => {
      const { eniId } = subject;
      const to = { ip: elsewhere, port: 4789 };
      await subject.apply(1);
      const calls: Call[] = [
        ['card.openQueue', { eniId, mode: 'hold', passTo: to }],
        ['card.setQueue', { eniId, mode: 'pass' }],
        ['card.prepareRedirect', { eniId, to }],
        ['card.redirectPort', { eniId, to }],
        ['card.redirectPort', { eniId }],
        ['card.plugPort', { eniId }],
        ['card.activatePort', { eniId }],
        ['card.exportFlows', { eniId }],
        ['card.importFlows', { eniId, flows: [] }],
      ];
      for (const [method, params] of calls)
        assert.equal(await codeOf(subject.card.caller.call(method, params)), notFound, method);
      const { held, forwarded } = await subject.call('card.closeQueue', { eniId, idleMs: 0 });
      assert.deepEqual([held, forwarded], [0, 0]);
      await subject.detach(elsewhere);
      assert.deepEqual((await subject.has()).epochs, []);
    },
  );

  check('a queue: opened again it is the same one; set, closed, then gone', async (subject) => {
    const { eniId } = subject;
    await subject.apply(1);
    await subject.attach(4, false);
    const opened = await subject.openQueue();
    assert.equal(opened.ip, subject.card.vtep);
    assert.deepEqual(await subject.openQueue(), opened);
    await subject.call('card.setQueue', { eniId, mode: 'pass' });
    await subject.call('card.closeQueue', { eniId, idleMs: 0 });
    await subject.call('card.closeQueue', { eniId, idleMs: 0 });
    assert.equal(await codeOf(subject.call('card.setQueue', { eniId, mode: 'pass' })), notFound);
  });

  check('a port that is detached takes its queue with it', async (subject) => {
    const { eniId } = subject;
    await subject.apply(1);
    await subject.attach(4, false);
    await subject.openQueue();
    await subject.detach();
    assert.equal(await codeOf(subject.call('card.setQueue', { eniId, mode: 'hold' })), notFound);
    assert.equal(await codeOf(subject.openQueue()), notFound);
  });

  const twice = async (subject: Subject, calls: readonly Call[]): Promise<void> => {
    for (const [method, params] of calls)
      for (let n = 0; n < 2; n++) await subject.card.caller.call(method, params);
  };

  check('the source’s part of a switch, taken back and gone through, each call twice', async (subject) => {
    const { eniId } = subject;
    await subject.apply(1);
    await subject.attach();
    await twice(subject, [
      ['card.prepareRedirect', { eniId, to: { ip: elsewhere, port: 20_000 } }],
      ['card.redirectPort', { eniId, to: { ip: elsewhere, port: 20_000 } }],
      ['card.redirectPort', { eniId }],
      ['card.prepareRedirect', { eniId, to: { ip: elsewhere, port: 20_001 } }],
      ['card.redirectPort', { eniId, to: { ip: elsewhere, port: 20_001 } }],
      ['card.plugPort', { eniId }],
      ['card.redirectPort', { eniId, to: { ip: elsewhere, port: 4789 } }],
      ['card.detachPort', { eniId, forwardTo: elsewhere }],
    ]);
    assert.deepEqual(await subject.has(), { version: 1, epochs: [] });
  });

  check('the target’s part of a switch, each call twice', async (subject) => {
    const { eniId } = subject;
    await subject.apply(1);
    await subject.attach(4, false);
    await subject.openQueue();
    await twice(subject, [
      ['card.importFlows', { eniId, flows: [] }],
      ['card.setQueue', { eniId, mode: 'pass' }],
      ['card.plugPort', { eniId }],
      ['card.activatePort', { eniId }],
      ['card.closeQueue', { eniId, idleMs: 0 }],
    ]);
    assert.deepEqual((await subject.call('card.exportFlows', { eniId })).flows, []);
    assert.deepEqual(await subject.has(), { version: 1, epochs: [4] });
  });

  cardPartsChecks(check);
};
