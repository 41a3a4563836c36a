/** What every region must do for its cells, real or in memory: the same checks run against both. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { changeParts, noParts, partsOf, type VpcParts } from '#base/network/parts.ts';
import { describeDevice } from '#base/network/transaction.ts';
import { PandoError } from '#contracts/errors.ts';
import { newCellId, newId } from '#contracts/ids.ts';
import { interfaceReleased } from '#contracts/region.ts';
import { type RegionUnderTest, Subject } from './region-contract.subject.ts';

const codeOf = (work: Promise<unknown>): Promise<string> =>
  work.then(
    () => 'ok',
    (error: unknown) => PandoError.from(error).code,
  );

/** Runs the checks against the region that `region()` gives once the suite's own `before` has run. */
export const regionContractSuite = (name: string, region: () => RegionUnderTest): void => {
  const check = (what: string, work: (subject: Subject) => Promise<void>): void => {
    test(`${name}: ${what}`, async () => {
      const subject = new Subject(region());
      try {
        await work(subject);
      } finally {
        await subject.release();
      }
    });
  };

  check(
    'an interface: nowhere at first, in its subnet, with the default group, in the network state',
    async (subject) => {
      const { vpcId, port } = await subject.allocate();
      assert.equal(vpcId, subject.region.vpcId);
      assert.equal(port.instanceId, subject.instanceId);
      assert.equal(port.subnetId, subject.region.subnetId);
      assert.deepEqual(port.groupIds, [subject.region.groupId]);
      assert.deepEqual([port.vtep, port.epoch, port.publicIp], [undefined, 0, undefined]);
      assert.deepEqual(await subject.port(), port);
    },
  );

  check('a VPC in parts: what leads from what a cell has to what is now', async (subject) => {
    await subject.allocate();
    const { caller, cellNumber, vpcId } = subject.region;
    const cellId = `cell-${cellNumber}`;
    const ask = (parts: VpcParts) => {
      const has = describeDevice(new Map(), parts.objects.size === 0 ? [] : [parts]);
      return caller.call('region.vpcParts', { cellId, vpcId, has });
    };
    const first = await ask(noParts(vpcId));
    const parts = changeParts(noParts(vpcId), first.objects, [first.places]);
    const whole = partsOf(await subject.vpc());
    assert.equal(parts.places.digest, whole.places.digest);
    for (const [key, { current }] of parts.objects)
      assert.equal(current?.digest, whole.objects.get(key)?.current?.digest);
    assert.ok(parts.objects.has(`security-group/${subject.region.groupId}`));
    const again = await ask(parts);
    assert.deepEqual([again.objects, again.places.set, again.places.removed], [[], [], []]);
    const unknown = { cellId, vpcId: newId('vpc'), has: { objects: [], places: [] } };
    assert.equal(await codeOf(caller.call('region.vpcParts', unknown)), 'InvalidVpcID.NotFound');
  });

  check('who does not have a VPC yet: nobody; of one that is gone too', async (subject) => {
    const { caller, vpcId } = subject.region;
    await subject.allocate();
    assert.deepEqual(await caller.call('region.pushVpc', { vpcId }), { unreachable: [] });
    assert.deepEqual(await caller.call('region.pushVpc', { vpcId: newId('vpc') }), { unreachable: [] });
  });

  check(
    'the same instance gets the same interface again, at once and whatever else it asks for',
    async (subject) => {
      const many = await Promise.all(Array.from({ length: 5 }, () => subject.allocate()));
      const again = await subject.allocate({ privateIp: subject.region.privateIp, description: 'other' });
      assert.equal(
        new Set([...many, again].map(({ port }) => `${port.eniId} ${port.ip} ${port.mac}`)).size,
        1,
      );
      const { ports } = await subject.vpc();
      assert.equal(ports.filter(({ instanceId }) => instanceId === subject.instanceId).length, 1);
    },
  );

  check('addresses, MACs and public addresses are given once', async (subject) => {
    const others = Array.from({ length: 4 }, () => new Subject(subject.region));
    const all = [subject, ...others];
    try {
      const ports = await Promise.all(
        all.map(async (each) => (await each.allocate({ publicIp: true })).port),
      );
      for (const part of ['ip', 'mac', 'publicIp', 'eniId'] as const)
        assert.equal(new Set(ports.map((port) => port[part])).size, all.length, part);
    } finally {
      for (const other of others) await other.release();
    }
  });

  check(
    'a wanted address: given, refused while it is taken, outside of the subnet or none',
    async (subject) => {
      const { privateIp } = subject.region;
      assert.equal((await subject.allocate({ privateIp })).port.ip, privateIp);
      const other = new Subject(subject.region);
      assert.equal(await codeOf(other.allocate({ privateIp })), 'InvalidIPAddress.InUse');
      assert.equal(await codeOf(other.allocate({ privateIp: '192.0.2.1' })), 'InvalidParameterValue');
      assert.equal(await codeOf(other.allocate({ privateIp: 'nonsense' })), 'InvalidParameterValue');
      assert.equal(await other.port(), undefined, 'a refusal leaves nothing');
    },
  );

  check('reserved addresses are refused at once and by the allocation, in EC2’s words', async (subject) => {
    const { reservedIps, subnetId } = subject.region;
    assert.equal(reservedIps.length, 5);
    for (const privateIp of reservedIps) {
      const refused = {
        code: 'InvalidParameterValue',
        message: `Address ${privateIp} is in subnet's reserved address range`,
      };
      await assert.rejects(subject.resolve({ subnetId, privateIp }), refused);
      await assert.rejects(subject.resolve({ subnetId, privateIp, count: 1 }), refused);
      await assert.rejects(subject.allocate({ privateIp }), refused);
    }
    assert.equal(await subject.port(), undefined);
  });

  check('an address that has just been released is given to who asks for it by name', async (subject) => {
    const { privateIp } = subject.region;
    const former = new Subject(subject.region);
    assert.equal((await former.allocate({ privateIp })).port.ip, privateIp);
    await former.release();
    assert.equal((await subject.allocate({ privateIp })).port.ip, privateIp);
  });

  check('unknown and malformed ids are refused, and leave nothing', async (subject) => {
    assert.equal(await codeOf(subject.allocate({ subnetId: newId('subnet') })), 'InvalidSubnetID.NotFound');
    assert.equal(
      await codeOf(subject.allocate({ groupIds: [newId('securityGroup')] })),
      'InvalidGroup.NotFound',
    );
    assert.equal(await codeOf(subject.allocate({ instanceId: 'i-x' })), 'InvalidInstanceID.Malformed');
    assert.equal(await subject.port(), undefined);
    const unknown = subject.region.caller.call('region.vpcState', { vpcId: newId('vpc') });
    assert.equal(await codeOf(unknown), 'InvalidVpcID.NotFound');
    assert.equal((await subject.allocate()).port.instanceId, subject.instanceId);
  });

  check(
    'released: gone from the network state, repeated the same; of an instance without one nothing',
    async (subject) => {
      await subject.allocate();
      const before = await subject.vpc();
      await subject.release();
      const after = await subject.vpc();
      assert.ok(after.version > before.version);
      assert.equal(await subject.port(), undefined);
      await subject.release();
      assert.equal((await subject.vpc()).version, after.version, 'a repeat changes nothing');
    },
  );

  check('an allocation after the release is refused, as often as it comes', async (subject) => {
    await subject.allocate();
    await subject.release();
    for (let n = 0; n < 3; n++) assert.equal(await codeOf(subject.allocate()), 'StaleEpoch');
    assert.equal(await subject.port(), undefined);
    // Who asks can tell it from a command that comes too late.
    await assert.rejects(subject.allocate(), { details: interfaceReleased });
  });

  check('an allocation after the release of an interface that was never made is refused', async (subject) => {
    await subject.release();
    assert.equal(await codeOf(subject.allocate()), 'StaleEpoch');
    assert.equal(await subject.port(), undefined);
  });

  check('of an allocation and a release at once nothing is left, whichever is first', async (subject) => {
    for (let round = 0; round < 10; round++) {
      const one = new Subject(subject.region);
      const calls = [() => one.allocate(), () => one.release(), () => one.allocate()];
      const codes = await Promise.all(
        (round % 2 === 0 ? calls : calls.reverse()).map((call) => codeOf(call())),
      );
      for (const code of codes) assert.ok(code === 'ok' || code === 'StaleEpoch', code);
      assert.equal(await one.port(), undefined);
    }
  });

  check('a place is set by a higher epoch only; equal and the same changes nothing', async (subject) => {
    const { eniId } = (await subject.allocate()).port;
    const first = (await subject.place(eniId, 4, '198.18.1.11')).state;
    assert.equal((await subject.place(eniId, 4, '198.18.1.11')).state.version, first.version);
    assert.equal(await codeOf(subject.place(eniId, 4, '198.18.1.12')), 'StaleEpoch', 'equal, elsewhere');
    assert.equal(await codeOf(subject.place(eniId, 4)), 'StaleEpoch', 'equal, nowhere');
    assert.equal(await codeOf(subject.place(eniId, 3, '198.18.1.12')), 'StaleEpoch', 'lower');
    assert.equal(await codeOf(subject.place(eniId, 3)), 'StaleEpoch', 'lower, nowhere');
    assert.equal((await subject.port())?.vtep, '198.18.1.11');
    assert.equal((await subject.vpc()).version, first.version, 'what is refused changes nothing');
    const nowhere = (await subject.place(eniId, 5)).state;
    assert.ok(nowhere.version > first.version);
    assert.equal((await subject.port())?.vtep, undefined);
    await subject.place(eniId, 8, '198.18.1.12');
    assert.deepEqual(
      [(await subject.port())?.vtep, (await subject.port())?.epoch],
      ['198.18.1.12', 8],
      'epochs may be left out',
    );
    assert.deepEqual(
      (await subject.allocate()).port,
      await subject.port(),
      'asked for again: with its place',
    );
  });

  // As a stop and a start: Amazon EC2 User Guide, "Amazon EC2 instance IP addressing", public IPv4 addresses.
  check('an automatic public address goes back when its instance is said to be stopped', async (subject) => {
    const { port } = await subject.allocate({ publicIp: true });
    assert.ok(port.publicIp !== undefined);
    assert.equal((await subject.place(port.eniId, 2, '198.18.1.11')).publicIp, port.publicIp);
    assert.equal((await subject.place(port.eniId, 4)).publicIp, port.publicIp, 'nowhere, and not stopped');
    assert.equal((await subject.place(port.eniId, 6, '198.18.1.12', true)).publicIp, port.publicIp, 'moved');
    const stopped = await subject.place(port.eniId, 8, undefined, true);
    assert.equal(stopped.publicIp, undefined);
    assert.equal((await subject.port())?.publicIp, undefined);
    assert.equal((await subject.place(port.eniId, 8, undefined, true)).publicIp, undefined, 'repeated');
    assert.equal(await codeOf(subject.place(port.eniId, 7, undefined, true)), 'StaleEpoch');
    const started = await subject.place(port.eniId, 10, '198.18.1.12');
    assert.ok(started.publicIp !== undefined, 'it was asked for: the next start brings another');
    assert.equal((await subject.port())?.publicIp, started.publicIp);
    assert.equal(await codeOf(subject.place(port.eniId, 8, undefined, true)), 'StaleEpoch', 'a late stop');
    assert.equal((await subject.port())?.publicIp, started.publicIp);
  });

  check(
    'a place of an unknown or released interface is not set, and brings nothing back',
    async (subject) => {
      assert.equal(
        await codeOf(subject.place(newId('networkInterface'), 2, '198.18.1.11')),
        'InvalidNetworkInterfaceID.NotFound',
      );
      const { eniId } = (await subject.allocate()).port;
      await subject.place(eniId, 2, '198.18.1.11');
      await subject.release();
      const { version } = await subject.vpc();
      for (const epoch of [2, 4])
        assert.equal(
          await codeOf(subject.place(eniId, epoch, '198.18.1.11')),
          'InvalidNetworkInterfaceID.NotFound',
        );
      assert.equal((await subject.vpc()).version, version);
      assert.equal(await subject.port(), undefined);
    },
  );

  check(
    'placement groups: resolved with their strategy, changed for an instance with an interface',
    async (subject) => {
      const { caller, accountId, placementGroup } = subject.region;
      const name = `parts-${subject.instanceId}`;
      const groupId = await placementGroup(name, 'partition', 3);
      const expected = { groupId, groupName: name, strategy: 'partition', partitionCount: 3 };
      assert.deepEqual((await subject.resolve({ placementGroup: { name } })).placementGroup, expected);
      assert.equal(
        await codeOf(subject.resolve({ placementGroup: { name: 'absent' } })),
        'InvalidPlacementGroup.Unknown',
      );
      const change = (group?: { name: string }) =>
        caller.call('region.changePlacementGroup', { accountId, instanceId: subject.instanceId, group });
      assert.equal(await codeOf(change({ name })), 'InvalidNetworkInterfaceID.NotFound');
      const looked = { accountId, instanceId: subject.instanceId, group: { name }, check: true };
      assert.deepEqual((await caller.call('region.changePlacementGroup', looked)).placementGroup, expected);
      await subject.allocate();
      for (let time = 0; time < 2; time++)
        assert.deepEqual((await change({ name })).placementGroup, expected);
      assert.equal(await codeOf(change({ name: 'absent' })), 'InvalidPlacementGroup.Unknown');
      assert.equal((await change()).placementGroup, undefined);
      const known = await caller.call('region.placementGroups', {
        groupIds: [groupId, 'pg-00000000000000000'],
      });
      assert.deepEqual(known.groups, [expected]);
    },
  );

  check(
    'changes of an interface: its owner’s, of groups that exist; each raises the version',
    async (subject) => {
      assert.equal(
        await codeOf(subject.change({ sourceDestCheck: false })),
        'InvalidNetworkInterfaceID.NotFound',
      );
      const { eniId } = (await subject.allocate()).port;
      await subject.place(eniId, 2, '198.18.1.11');
      const { version } = await subject.vpc();
      const changed = await subject.change({ sourceDestCheck: false });
      assert.deepEqual(
        [changed.sourceDestCheck, changed.groups.map(({ groupId }) => groupId)],
        [false, [subject.region.groupId]],
      );
      assert.ok(changed.version > version);
      assert.equal((await subject.port())?.sourceDestCheck, false);
      assert.equal((await subject.port())?.vtep, '198.18.1.11', 'the place stays');
      assert.equal(await codeOf(subject.change({ groupIds: [] })), 'InvalidParameterValue');
      assert.equal(
        await codeOf(subject.change({ groupIds: [newId('securityGroup')] })),
        'InvalidGroup.NotFound',
      );
      assert.equal(
        await codeOf(subject.change({ accountId: '999988887777', sourceDestCheck: true })),
        'InvalidNetworkInterfaceID.NotFound',
      );
      assert.equal(await codeOf(subject.change({ sourceDestCheck: true, dryRun: true })), 'DryRunOperation');
      assert.equal((await subject.port())?.sourceDestCheck, false);
      assert.equal((await subject.vpc()).version, changed.version);
    },
  );

  check(
    'a client token is one cell’s until each of its claims was given back, or was never made',
    async (subject) => {
      const token = newId('vpc');
      const { accountId } = subject.region;
      const claim = (cellId: string) => subject.resolve({ claim: { cellId, token } });
      const release = (cellId: string, account = accountId) =>
        subject.region.caller.call('region.releaseToken', { accountId: account, cellId, token });
      const holderFor = (cellId: string): Promise<string | undefined> =>
        claim(cellId).then(
          () => cellId,
          (error: unknown) => {
            assert.equal(PandoError.from(error).code, 'Unavailable');
            return PandoError.from(error).details?.tokenCellId;
          },
        );
      await assert.rejects(subject.resolve({ claim: { cellId: 'a', token }, imageId: newId('image') }));
      assert.equal(await holderFor('b'), 'b', 'a launch that was refused here has claimed nothing');
      assert.equal(await holderFor('b'), 'b', 'its own cell may claim it again');
      assert.equal(await holderFor('a'), 'b');
      await release('a');
      await release('b', '999988887777');
      await release('b');
      assert.equal(await holderFor('a'), 'b', 'another request of that cell may still be accepted');
      await release('b');
      assert.equal(await holderFor('a'), 'a');
      assert.equal(await holderFor('b'), 'a');
      await subject.resolve({ claim: { cellId: 'b', token: `${token}-other` } });
      // Of many at once one cell gets it.
      const many = Array.from({ length: 12 }, (_, at) => `cell-${at % 3}`);
      const other = (cellId: string) => subject.resolve({ claim: { cellId, token: `${token}-many` } });
      const codes = await Promise.all(many.map((cellId) => codeOf(other(cellId))));
      const won = new Set(many.filter((_, at) => codes[at] === 'ok'));
      assert.equal(won.size, 1);
      assert.ok(many.every((cellId, at) => won.has(cellId) === (codes[at] === 'ok')));
      await release('a');
      await release('a');
      await release('a');
      assert.equal(await holderFor('b'), 'b', 'what is not there is given back without harm');
    },
  );

  check(
    'instances are in the windows of their ids, tags and dedicated hosts, until they end',
    async (subject) => {
      const { caller, accountId, eventWindow, cellNumber } = subject.region;
      const { instanceId } = subject;
      await subject.allocate();
      const another = newCellId('instance', cellNumber);
      const hostId = newCellId('host', cellNumber);
      const key = `team-${instanceId}`;
      const byId = await eventWindow({ kind: 'instance', id: instanceId });
      const byTag = await eventWindow({ kind: 'tag', key, value: 'a' });
      const byHost = await eventWindow({ kind: 'host', id: hostId });
      const ask = async (id: string, more: { value?: string; host?: string; account?: string } = {}) => {
        const tags = more.value === undefined ? [] : [{ Key: key, Value: more.value }];
        const one = {
          instanceId: id,
          accountId: more.account ?? accountId,
          tags,
          dedicatedHostId: more.host,
        };
        const { windows } = await caller.call('region.eventWindows', { instances: [one] });
        for (const { hours } of windows) assert.deepEqual(hours, [{ from: 24, to: 28 }]);
        assert.ok(windows.every((each) => each.instanceId === id));
        return windows.map(({ windowId }) => windowId).sort();
      };
      assert.deepEqual(await ask(instanceId), [byId]);
      assert.deepEqual(await ask(instanceId, { value: 'a', host: hostId }), [byId, byTag, byHost].sort());
      assert.deepEqual(await ask(another, { value: 'a' }), [byTag]);
      assert.deepEqual(await ask(another, { value: 'b' }), []);
      assert.deepEqual(await ask(another, { value: 'a', account: '999988887777' }), []);
      assert.deepEqual(await caller.call('region.eventWindows', { instances: [] }), { windows: [] });
      await subject.release();
      assert.deepEqual(await ask(instanceId), []);
    },
  );

  check(
    'requests in several zones hear of each other what has ended; a cell speaks for its own alone',
    async (subject) => {
      const { caller, cellNumber } = subject.region;
      const cellId = `cell-${cellNumber}`;
      const [main, here, there] = [cellNumber, cellNumber, cellNumber + 1].map((number) =>
        newCellId('capacityRequest', number),
      );
      assert.ok(main !== undefined && here !== undefined && there !== undefined);
      const tell = (ended: { requestId: string; main: string; fulfilled: boolean }[], mains: string[]) =>
        caller.call('region.endedRequests', { cellId, ended, mains });
      assert.deepEqual(await tell([], []), { ended: [], offered: [] });
      assert.deepEqual(await tell([], [main]), { ended: [], offered: [] });
      const fulfilled = { requestId: here, main, fulfilled: true };
      const others = { requestId: there, main, fulfilled: true };
      for (let times = 0; times < 2; times++)
        assert.deepEqual(await tell([fulfilled, others], [main]), { ended: [fulfilled], offered: [] });
      assert.deepEqual(await tell([{ ...fulfilled, fulfilled: false }], [main]), {
        ...{ ended: [fulfilled], offered: [] },
      });
      const other = newCellId('capacityRequest', cellNumber);
      assert.deepEqual(await tell([], [other]), { ended: [], offered: [] });
    },
  );

  check(
    'of offers to requests of one wish the first request’s goes before the others; one that is over stays over',
    async (subject) => {
      const { caller, cellNumber } = subject.region;
      const cellId = `cell-${cellNumber}`;
      const request = () => newCellId('capacityRequest', cellNumber);
      const [main, second, third] = [request(), request(), request()];
      const offer = (requestId: string) => ({
        ...{ offerId: newCellId('capacityOffer', cellNumber), requestId, main },
      });
      const [ofMain, ofSecond, ofThird] = [offer(main), offer(second), offer(third)];
      const stranger = offer(newCellId('capacityRequest', cellNumber + 1));
      const tell = async (offers: (ReturnType<typeof offer> & { open: boolean })[]) =>
        (await caller.call('region.endedRequests', { cellId, ended: [], mains: [main], offers })).offered;
      const open = (one: ReturnType<typeof offer>) => ({ ...one, open: true });
      const over = (one: ReturnType<typeof offer>) => ({ ...one, open: false });
      assert.deepEqual(await tell([open(ofThird)]), [ofThird]);
      for (let times = 0; times < 2; times++)
        assert.deepEqual(await tell([open(ofSecond), open(stranger)]), [ofThird, ofSecond]);
      assert.deepEqual(await tell([open(ofMain)]), [ofMain, ofThird, ofSecond]);
      assert.deepEqual(await tell([over(ofMain)]), [ofThird, ofSecond]);
      assert.deepEqual(await tell([open(ofMain)]), [ofThird, ofSecond], 'heard late');
      const ended = [{ requestId: third, main, fulfilled: false }];
      const { offered } = await caller.call('region.endedRequests', { cellId, ended, mains: [main] });
      assert.deepEqual(offered, [ofSecond], 'what is offered to one that has ended is over');
    },
  );

  check('a launch is resolved within the account’s network, and changes nothing', async (subject) => {
    const { version } = await subject.vpc();
    const { vpcId, subnetId, groupId, zone } = subject.region;
    const found = await subject.resolve({ subnetId, count: 2 });
    assert.deepEqual(
      [found.vpcId, found.subnetId, found.zone, found.groups.map((group) => group.groupId)],
      [vpcId, subnetId, zone, [groupId]],
    );
    assert.ok((found.freeAddresses ?? 0) >= 2);
    assert.equal((await subject.resolve({ subnetId })).freeAddresses, undefined);
    assert.equal(await codeOf(subject.resolve({ imageId: newId('image') })), 'InvalidAMIID.NotFound');
    assert.equal(await codeOf(subject.resolve({ subnetId: newId('subnet') })), 'InvalidSubnetID.NotFound');
    assert.equal(
      await codeOf(subject.resolve({ subnetId, groupIds: [newId('securityGroup')] })),
      'InvalidGroup.NotFound',
    );
    assert.equal(await codeOf(subject.resolve({ subnetId, keyName: 'nobody’s' })), 'InvalidKeyPair.NotFound');
    assert.equal(
      await codeOf(subject.resolve({ subnetId, privateIp: '192.0.2.1' })),
      'InvalidParameterValue',
    );
    assert.equal((await subject.vpc()).version, version);
  });
};
