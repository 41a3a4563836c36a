/** What every card must do with network state in parts; part of the card's contract suite. */
import assert from 'node:assert/strict';
import { setTimeout } from 'node:timers/promises';
import { difference, nothingKnown, objectsFor } from '#base/network/needs.ts';
import { partsOf } from '#base/network/parts.ts';
import { PandoError } from '#contracts/errors.ts';
import type { VpcState } from '#contracts/network.ts';
import { digestOf } from '#contracts/network-digest.ts';
import {
  type DeviceTransaction,
  type FleetBody,
  fleetId,
  type NetworkObject,
  type ObjectChange,
  objectOnDevice,
} from '#contracts/network-objects.ts';
import type { Subject } from './card-contract.suite.ts';

type Check = (what: string, work: (subject: Subject) => Promise<void>) => void;

const codeOf = (work: Promise<unknown>): Promise<string> =>
  work.then(
    () => 'ok',
    (error: unknown) => PandoError.from(error).code,
  );

const until = async (what: string, isSo: () => Promise<boolean>): Promise<void> => {
  const deadline = Date.now() + 60_000;
  while (!(await isSo())) {
    assert.ok(Date.now() < deadline, what);
    await setTimeout(20);
  }
};

const group = (groupId: string, ports: readonly number[]) => ({
  groupId,
  ingress: ports.map((port) => ({ protocol: '6', fromPort: port, toPort: port, cidr: '0.0.0.0/0' })),
  egress: [{ protocol: '-1', cidr: '0.0.0.0/0' }],
});

/** The whole of a state as one transaction to a card that has nothing. */
const all = (state: VpcState): DeviceTransaction => {
  const parts = partsOf(state);
  const groups = new Set(state.groups.map(({ groupId }) => groupId));
  const told = difference(nothingKnown, parts, objectsFor(parts, groups));
  assert.ok(told !== undefined);
  return { objects: [...told.objects], places: [told.places] };
};

const transact = (subject: Subject, transaction: Partial<DeviceTransaction>) =>
  subject.call('card.transact', { objects: [], places: [], ...transaction });

const holds = (subject: Subject) => subject.call('card.objects', { vpcIds: [subject.vpcId] });

const digests = ({ objects }: Awaited<ReturnType<typeof holds>>): Map<string, string | undefined> =>
  new Map(objects.filter(({ kind }) => kind !== 'fleet').map(({ id, current }) => [id, current?.digest]));

const heldDigest = async (subject: Subject, id: string): Promise<string | undefined> =>
  (await holds(subject)).objects.find((held) => held.id === id)?.current?.digest;

const settings = (subject: Subject, mtu: number, version: number): NetworkObject => {
  const { vni, cidrs, dnsServers, domainName } = subject.state(1);
  const what = { kind: 'vpc' as const, id: subject.vpcId, body: { vni, cidrs, dnsServers, domainName, mtu } };
  return { ...what, vpcId: subject.vpcId, version, digest: digestOf(what) };
};
const change = (
  { kind, id, vpcId }: NetworkObject,
  to: NetworkObject | undefined,
  from?: string | null,
): ObjectChange => ({ kind, id, vpcId, from, to });

const fleet = (body: FleetBody, version: number): NetworkObject => {
  const what = { kind: 'fleet' as const, id: fleetId, body };
  return { ...what, version, digest: digestOf(what) };
};

export const cardPartsChecks = (check: Check): void => {
  check('a VPC told in parts takes a port, and is the same as one told whole', async (subject) => {
    const state = { ...subject.state(3), groups: [group('sg-1', [80])] };
    const answer = await transact(subject, all(state));
    assert.deepEqual(await subject.has(), { version: 3, epochs: [] });
    await subject.attach();
    assert.deepEqual(await subject.has(), { version: 3, epochs: [4] });
    const expected = partsOf(state);
    assert.equal(answer.places[0]?.digest, expected.places.digest);
    const wanted = new Map([...expected.objects.values()].map(({ id, current }) => [id, current?.digest]));
    assert.deepEqual(digests(await holds(subject)), wanted);
    assert.equal(await codeOf(subject.apply(2)), 'StaleEpoch', 'an old peer with an older whole');
    await subject.apply(3);
    assert.deepEqual(digests(await holds(subject)), wanted, 'the same version: nothing new');
  });

  check('an old peer’s whole document is taken in between, and says the same digests', async (subject) => {
    await transact(subject, all({ ...subject.state(1), groups: [group('sg-1', [80])] }));
    await subject.attach();
    const whole = { ...subject.state(5), mtu: 1_300, groups: [group('sg-2', [22])] };
    await subject.call('card.applyVpc', { state: whole });
    const expected = partsOf(whole);
    const held = await holds(subject);
    assert.deepEqual([...digests(held).keys()].sort(), [subject.vpcId, 'sg-2', 'subnet-a'].sort());
    assert.equal(held.places[0]?.digest, expected.places.digest);
    const back = settings(subject, 1_400, 6);
    await transact(subject, { objects: [change(back, back)] });
    assert.equal(await heldDigest(subject, subject.vpcId), back.digest);
  });

  check('places: entries come and go one by one; an older word changes nothing', async (subject) => {
    const { vpcId, port } = subject;
    await transact(subject, all(subject.state(1)));
    const other = { ...port, eniId: 'eni-0000000000000000f', ip: '10.0.0.99', mac: '06:00:00:00:01:01' };
    const moved = { ...other, vtep: '198.51.100.7', epoch: 5 };
    const tell = (version: number, delta: object) =>
      transact(subject, { places: [{ vpcId, version, set: [], removed: [], ...delta }] });
    await tell(3, { set: [moved] });
    const digestOfNow = async () => (await holds(subject)).places[0]?.digest;
    const withMoved = partsOf({ ...subject.state(3), ports: [port, moved] }).places.digest;
    assert.equal(await digestOfNow(), withMoved);
    await tell(2, { set: [other] });
    assert.equal(await digestOfNow(), withMoved, 'a lower epoch, told late');
    await tell(2, { removed: [other.eniId] });
    assert.equal(await digestOfNow(), withMoved, 'a lower version, told late');
    await tell(4, { removed: [other.eniId] });
    assert.equal(await digestOfNow(), partsOf(subject.state(4)).places.digest);
    await tell(3, { set: [moved] });
    assert.equal(await digestOfNow(), partsOf(subject.state(4)).places.digest, 'it is gone');
  });

  check(
    'from a first state to a second; from another it refuses, says what it has, and nothing is touched',
    async (subject) => {
      const [a, b, c] = [
        settings(subject, 1_400, 1),
        settings(subject, 1_350, 2),
        settings(subject, 1_300, 3),
      ];
      await transact(subject, all(subject.state(1)));
      assert.equal(await heldDigest(subject, subject.vpcId), a.digest);
      const g = partsOf({ ...subject.state(1), groups: [group('sg-9', [1])] }).objects.get(
        'security-group/sg-9',
      );
      assert.ok(g?.current !== undefined);
      const both = { objects: [change(g.current, g.current, null), change(b, b, c.digest)] };
      await assert.rejects(transact(subject, both), (error: unknown) => {
        const { code, details } = PandoError.from(error);
        assert.equal(code, 'Conflict');
        assert.equal(objectOnDevice.parse(JSON.parse(details?.has ?? '')).current?.digest, a.digest);
        return true;
      });
      assert.equal(await heldDigest(subject, 'sg-9'), undefined, 'all or nothing');
      await transact(subject, { objects: [change(b, b, a.digest)] });
      await transact(subject, { objects: [change(b, b, a.digest)] });
      const held = (await holds(subject)).objects.find(({ id }) => id === subject.vpcId);
      assert.deepEqual([held?.current?.digest, held?.previous?.digest], [b.digest, a.digest]);
      await transact(subject, { objects: [change(a, a, b.digest)] });
      assert.equal(await heldDigest(subject, subject.vpcId), a.digest, 'and back');
      await transact(subject, { objects: [change(c, c)] });
      await transact(subject, { objects: [change(b, b)] });
      assert.equal(
        await heldDigest(subject, subject.vpcId),
        c.digest,
        'without a first state the newer one stays',
      );
    },
  );

  check('a group that a port here carries is kept, whoever says that it is not needed', async (subject) => {
    const groups = [group('sg-1', [80]), group('sg-2', [22])];
    const state = { ...subject.state(1), groups, ports: [] };
    await transact(subject, all(state));
    const port = { ...subject.port, groupIds: ['sg-1'] };
    const tap = await subject.tap();
    await subject.call('card.attachPort', { vpcId: subject.vpcId, port, tap, activate: false });
    const trim = (id: string) => ({ kind: 'security-group' as const, id, vpcId: subject.vpcId });
    await transact(subject, { objects: [trim('sg-1'), trim('sg-2')] });
    assert.deepEqual(
      [...digests(await holds(subject)).keys()].sort(),
      ['sg-1', 'subnet-a', subject.vpcId].sort(),
    );
  });

  check('a VPC with a port stays declared', async (subject) => {
    await transact(subject, all(subject.state(1)));
    await subject.attach();
    const a = settings(subject, 1_400, 1);
    assert.equal(await codeOf(transact(subject, { objects: [change(a, undefined)] })), 'Conflict');
    assert.deepEqual(await subject.has(), { version: 1, epochs: [4] });
    await subject.detach();
    await transact(subject, { objects: [change(a, undefined)] });
    assert.equal((await subject.has()).version, undefined);
  });

  check('what nobody confirms is taken back; what is confirmed stays (S8.4)', async (subject) => {
    const [a, b] = [settings(subject, 1_400, 1), settings(subject, 1_350, 2)];
    await transact(subject, all(subject.state(1)));
    await subject.attach();
    const transactionId = `t-${subject.vpcId}`;
    const trial = { transactionId, objects: [change(b, b, a.digest)] };
    await transact(subject, { ...trial, confirmWithinMs: 200 });
    await until('it was taken back', async () => (await heldDigest(subject, subject.vpcId)) === a.digest);
    assert.equal(await codeOf(subject.call('card.confirm', { transactionId })), 'NotFound');
    await transact(subject, { ...trial, confirmWithinMs: 60_000 });
    await transact(subject, { ...trial, confirmWithinMs: 60_000 });
    const c = settings(subject, 1_300, 3);
    assert.equal(
      await codeOf(transact(subject, { objects: [change(c, c, b.digest)] })),
      'Conflict',
      'it is another’s yet',
    );
    await subject.call('card.confirm', { transactionId });
    assert.equal(await codeOf(subject.call('card.confirm', { transactionId })), 'NotFound');
    assert.equal(await heldDigest(subject, subject.vpcId), b.digest);
    const removal = { ...trial, objects: [change(b, a, b.digest)], confirmWithinMs: 1 };
    assert.equal(
      await codeOf(transact(subject, { ...removal, transactionId: undefined })),
      'InvalidParameterValue',
    );
  });

  check(
    'the way back is taken at once, also before anybody has confirmed the way there (S8.3)',
    async (subject) => {
      const [a, b, c] = [
        settings(subject, 1_400, 1),
        settings(subject, 1_350, 2),
        settings(subject, 1_300, 3),
      ];
      await transact(subject, all(subject.state(1)));
      await subject.attach();
      const transactionId = `t-${subject.vpcId}`;
      await transact(subject, { transactionId, objects: [change(b, b, a.digest)], confirmWithinMs: 60_000 });
      await transact(subject, { objects: [change(a, a, b.digest)] });
      assert.equal(await heldDigest(subject, subject.vpcId), a.digest);
      assert.equal(await codeOf(subject.call('card.confirm', { transactionId })), 'NotFound', 'it is over');
      await transact(subject, { objects: [change(c, c, a.digest)] });
      assert.equal(await heldDigest(subject, subject.vpcId), c.digest);
    },
  );

  check('an older fence is refused, and nothing is touched (S8.5)', async (subject) => {
    const [a, b] = [settings(subject, 1_400, 1), settings(subject, 1_350, 2)];
    await transact(subject, all(subject.state(1)));
    await subject.attach();
    const later = Date.now();
    await transact(subject, { objects: [change(b, b, a.digest)], fence: { epoch: later, number: 2 } });
    for (const fence of [
      { epoch: later, number: 1 },
      { epoch: later - 1, number: 9 },
    ])
      assert.equal(
        await codeOf(transact(subject, { objects: [change(a, a, b.digest)], fence })),
        'StaleEpoch',
      );
    assert.equal(await heldDigest(subject, subject.vpcId), b.digest);
    await transact(subject, { objects: [change(a, a, b.digest)], fence: { epoch: later, number: 3 } });
    assert.equal(await heldDigest(subject, subject.vpcId), a.digest);
    // Nor does an engine that was replaced make stay what its successor tries.
    const transactionId = `f-${subject.vpcId}`;
    const trial = { transactionId, objects: [change(b, b, a.digest)], confirmWithinMs: 60_000 };
    await transact(subject, { ...trial, fence: { epoch: later + 1, number: 1 } });
    const late = subject.call('card.confirm', { transactionId, fence: { epoch: later, number: 9 } });
    assert.equal(await codeOf(late), 'StaleEpoch');
    await subject.call('card.confirm', { transactionId, fence: { epoch: later + 1, number: 2 } });
    assert.equal(await codeOf(subject.call('card.confirm', { transactionId })), 'NotFound', 'it stays');
  });

  check(
    'a port is attached where the rules of its groups are, and keeps them (InvalidVpcID.NotFound)',
    async (subject) => {
      const port = { ...subject.port, groupIds: ['sg-1'] };
      const state = { ...subject.state(1), groups: [group('sg-1', [22])], ports: [port] };
      const parts = partsOf(state);
      const bare = difference(nothingKnown, parts, objectsFor(parts, new Set()));
      assert.ok(bare !== undefined);
      await transact(subject, { objects: [...bare.objects], places: [bare.places] });
      const tap = await subject.tap();
      const attach = () =>
        codeOf(subject.call('card.attachPort', { vpcId: subject.vpcId, port, tap, activate: true }));
      assert.equal(await attach(), 'InvalidVpcID.NotFound');
      const told = await transact(subject, all(state));
      assert.equal(await attach(), 'ok');
      assert.equal(await attach(), 'ok', 'again the same');
      const held = await holds(subject);
      const own = new Set(held.objects.filter(({ kind }) => kind !== 'fleet').map(({ id }) => id));
      assert.deepEqual(new Set(told.objects.map(({ id }) => id).filter((id) => own.has(id))), own);
      const digestsOf = ({ places }: typeof held) => places.map(({ objects }) => objects);
      assert.deepEqual(digestsOf(told), digestsOf(held), 'an answer tells of all objects of its VPCs');
      assert.notEqual(digestsOf(held)[0], undefined);
    },
  );

  check('the installation’s settings: one object, under which every VPC is', async (subject) => {
    await transact(subject, all(subject.state(1)));
    await subject.attach();
    const before = (await holds(subject)).objects.find(({ kind }) => kind === 'fleet')?.current;
    const strict = fleet(
      {
        ...{ mtu: 1_300, blackholes: ['203.0.113.0/24'], linkLocalPacketsPerS: 100 },
        defaultRules: [{ on: 'guest-services', protocol: '6', fromPort: 80, toPort: 80 }],
      },
      (before?.version ?? 0) + 1,
    );
    assert.equal(
      await codeOf(transact(subject, { objects: [change(strict, strict, '0'.repeat(32))] })),
      'Conflict',
    );
    await transact(subject, { objects: [change(strict, strict, before?.digest ?? null)] });
    assert.equal(await heldDigest(subject, fleetId), strict.digest);
    await transact(subject, { objects: [change(strict, undefined, strict.digest)] });
    assert.equal(await heldDigest(subject, fleetId), undefined);
  });

  check(
    'what would change in the kernel is said in its own terms, and nothing is touched (S8.2)',
    async (subject) => {
      const carried = { ...subject.port, groupIds: ['sg-1'] };
      const state = { ...subject.state(1), groups: [group('sg-1', [80])], ports: [carried] };
      await transact(subject, all(state));
      const tap = await subject.tap();
      await subject.call('card.attachPort', { vpcId: subject.vpcId, port: carried, tap, activate: true });
      const preview = (objects: ObjectChange[]) => subject.call('card.preview', { objects, places: [] });
      const linesHere = async (objects: ObjectChange[]): Promise<string[]> =>
        (await preview(objects)).differences.flatMap(({ vpcIds, lines }) =>
          vpcIds.includes(subject.vpcId) ? lines : [],
        );
      const before = await holds(subject);
      const has = before.objects.find(({ kind }) => kind === 'fleet')?.current;
      const strict = fleet(
        {
          ...{ mtu: 1_300, blackholes: ['203.0.113.0/24'] },
          defaultRules: [{ on: 'guest-services', protocol: '6', fromPort: 80, toPort: 80 }],
          underlay: { closed: [{ protocol: 'tcp', port: 9_999 }] },
        },
        (has?.version ?? 0) + 1,
      );
      const there = [change(strict, strict, has?.digest ?? null)];
      const lines = await linesHere(there);
      const expected = [
        '- ip link vx0 mtu 1400',
        '+ ip link vx0 mtu 1300',
        `- ip link ${tap} mtu 1400`,
        `+ ip link ${tap} mtu 1300`,
        '+ ip route blackhole 203.0.113.0/24 table 167772160',
        '+ nft rule inet pando input iifname != "vx0" tcp dport 80 drop',
      ];
      assert.deepEqual(new Set(lines), new Set(expected));
      const own = (await preview(there)).differences.find(({ vpcIds }) => vpcIds.length === 0);
      assert.deepEqual(own?.lines, ['+ nft rule inet pando_fleet input tcp dport 9999 drop']);
      const wider = partsOf({ ...state, groups: [group('sg-1', [80, 443])] }, partsOf(state));
      const sg = wider.objects.get('security-group/sg-1');
      assert.ok(sg?.current !== undefined && sg.previous !== undefined);
      const rule = change({ ...sg.current, version: 2 }, { ...sg.current, version: 2 }, sg.previous.digest);
      assert.deepEqual(await linesHere([rule]), ['+ nft rule inet pando gi_sg-1 tcp dport 443 accept']);
      assert.equal(await codeOf(preview([change(strict, strict, '0'.repeat(32))])), 'Conflict', 'drift');
      assert.equal(
        await codeOf(preview([change(strict, { ...strict, digest: 'f'.repeat(32) })])),
        'InvalidParameterValue',
      );
      assert.deepEqual(await holds(subject), before, 'nothing was touched');
      await transact(subject, { objects: there });
      assert.deepEqual((await preview(there)).differences, [], 'it is there already');
      const swapped = (line: string): string => `${line.startsWith('+') ? '-' : '+'}${line.slice(1)}`;
      const back = await linesHere([change(strict, undefined, strict.digest)]);
      assert.deepEqual(new Set(back), new Set(lines.map(swapped)), 'the way back is the same, the other way');
      await transact(subject, { objects: [change(strict, undefined, strict.digest)] });
    },
  );

  check('what is no object is refused, and nothing is touched', async (subject) => {
    const a = settings(subject, 1_400, 1);
    await transact(subject, all(subject.state(1)));
    const { vpcId: _, ...homeless } = change(a, a);
    const wrong: ObjectChange[] = [
      change(a, { ...a, digest: 'f'.repeat(32) }),
      change(a, { ...a, body: { mtu: 'x' } }),
      change(a, { ...a, id: 'vpc-0' }),
      { ...homeless, to: a },
      change({ ...a, kind: 'network-acl' }, { ...a, kind: 'network-acl' }),
    ];
    for (const each of wrong)
      assert.equal(await codeOf(transact(subject, { objects: [each] })), 'InvalidParameterValue');
    const elsewhere = change({ ...a, vpcId: '../vpc' }, { ...a, vpcId: '../vpc' });
    assert.equal(await codeOf(transact(subject, { objects: [elsewhere] })), 'InvalidParameterValue');
    assert.equal(await heldDigest(subject, subject.vpcId), a.digest);
  });

  check('a guest of the card’s own measures, and shows nowhere among the tenants’', async (subject) => {
    await transact(subject, all(subject.state(1)));
    await subject.attach();
    const { vtep } = subject.card;
    const shown = async () => {
      const { vpcs, ports } = await subject.call('card.status', {});
      return { vpcs, ports, ...(await subject.call('card.objects', {})) };
    };
    const before = await shown();
    const probe = {
      ...{ members: [{ vtep, ip: '198.19.0.7' }], mtu: 1_400, targets: [] },
      checks: ['metadata', 'counters'] as const,
    };
    const ask = (more: object = {}) =>
      subject.call('card.probe', { ...probe, checks: [...probe.checks], ...more });
    const [first, again] = [await ask(), await ask()];
    for (const { metadata, peers, counters } of [first, again]) {
      assert.equal(metadata?.ok, true, metadata?.detail);
      assert.deepEqual(peers, []);
      assert.ok(counters !== undefined);
    }
    const other = { vtep: '198.51.100.7', ip: '198.19.0.8' };
    assert.equal(await codeOf(ask({ members: [other] })), 'InvalidParameterValue', 'it is no member');
    assert.equal(await codeOf(ask({ targets: ['198.19.0.9'] })), 'InvalidParameterValue', 'no member');
    assert.equal(
      await codeOf(ask({ members: [...probe.members, { ...other, ip: '198.19.0.7' }] })),
      'InvalidParameterValue',
      'one address twice',
    );
    assert.deepEqual(await shown(), before);
    const { ports } = await subject.call('card.counters', {});
    assert.ok(ports.every(({ eniId }) => !eniId.startsWith('eni-probe')));
  });
};
