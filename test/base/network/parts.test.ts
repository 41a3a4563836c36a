/** Parts against the whole document: whatever is told in whatever order, the parts give the document. */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { difference, groupsCarried, knownOf, nothingKnown, objectsFor } from '#base/network/needs.ts';
import { changeObjects, describeObject, keyOf, type Objects } from '#base/network/objects.ts';
import { changeParts, noParts, partsOf, stateOf, type VpcParts } from '#base/network/parts.ts';
import { PandoError } from '#contracts/errors.ts';
import type { VpcPort, VpcState } from '#contracts/network.ts';
import { digestOf } from '#contracts/network-digest.ts';
import type { NetworkObject, PlacesDelta } from '#contracts/network-objects.ts';

const vteps = ['198.18.1.11', '198.18.1.12', '198.18.1.13'];
const groupIds = ['sg-1', 'sg-2', 'sg-3', 'sg-4'];

const rule = fc.record({
  protocol: fc.constantFrom('-1', '6', '17'),
  cidr: fc.constantFrom('0.0.0.0/0', '10.0.0.0/24'),
});
const port = (host: number): fc.Arbitrary<VpcPort> =>
  fc.record({
    eniId: fc.constant(`eni-${host}`),
    mac: fc.constant(`06:00:00:00:00:0${host}`),
    ip: fc.constant(`10.0.0.${10 + host}`),
    subnetId: fc.constant('subnet-a'),
    groupIds: fc.subarray(groupIds),
    sourceDestCheck: fc.boolean(),
    vtep: fc.constantFrom(...vteps),
    epoch: fc.constant(1),
  });
const group = (groupId: string) =>
  fc.record({
    groupId: fc.constant(groupId),
    ingress: fc.array(rule, { maxLength: 3 }),
    egress: fc.constant([]),
  });

const content = fc.record({
  ports: fc
    .tuple(...[1, 2, 3, 4, 5].map((host) => fc.option(port(host), { nil: undefined })))
    .map((ports) => ports.filter((each) => each !== undefined)),
  groups: fc.tuple(...groupIds.map(group)),
  routes: fc.subarray(['0.0.0.0/0', '192.0.2.0/24']),
  mtu: fc.constantFrom(1_400, 1_450),
  gateway: fc.boolean(),
});
type Content = typeof content extends fc.Arbitrary<infer T> ? T : never;

const state = (made: Content, version: number): VpcState => wireCopy(document(made, version));
const document = ({ ports, groups, routes, mtu, gateway }: Content, version: number): VpcState => ({
  ...{
    vpcId: 'vpc-1',
    vni: 7,
    version,
    cidrs: ['10.0.0.0/16'],
    dnsServers: [],
    domainName: 'test.internal',
    mtu,
  },
  subnets: [
    {
      ...{ subnetId: 'subnet-a', cidr: '10.0.0.0/24', router: '10.0.0.1' },
      routes: routes.map((destination) => ({ destination, target: { kind: 'blackhole' as const } })),
    },
  ],
  ...{ groups, ports },
  ...(gateway ? { internetGateway: { id: 'igw-1', vtep: '198.18.1.99', mac: '06:00:00:00:00:99' } } : {}),
});
/** Epochs and groups apart from the order in which they are listed. */
const normal = (of: VpcState | undefined, carried?: ReadonlySet<string>) =>
  of && {
    ...of,
    version: 0,
    ports: [...of.ports].sort((a, b) => a.eniId.localeCompare(b.eniId)),
    groups: of.groups
      .filter(({ groupId }) => carried?.has(groupId) !== false)
      .sort((a, b) => a.groupId.localeCompare(b.groupId)),
  };
const wireCopy = <T>(value: T): T => JSON.parse(JSON.stringify(value));

const bring = (device: VpcParts, whole: VpcParts, vtep: string, known = knownOn(device)): VpcParts => {
  const carried = groupsCarried(whole, (each) => each.vtep === vtep);
  const told = difference(known, whole, objectsFor(whole, carried));
  return told === undefined ? device : changeParts(device, wireCopy(told.objects), [wireCopy(told.places)]);
};
const knownOn = ({ vpcId, objects, places }: VpcParts) =>
  knownOf(vpcId, {
    objects: [...objects.values()].map(describeObject),
    places: [{ vpcId, version: places.version, digest: places.digest }],
  });

describe('a VPC in parts', () => {
  it('comes back as the document that it was made of', () => {
    fc.assert(
      fc.property(content, (made) => {
        const whole = state(made, 3);
        assert.deepEqual(stateOf(partsOf(whole)), whole);
      }),
    );
  });

  it('each device has what it needs of every version, told by differences, by digest after a loss too', () => {
    fc.assert(
      fc.property(fc.array(fc.tuple(content, fc.boolean()), { minLength: 1, maxLength: 6 }), (versions) => {
        let whole = noParts('vpc-1');
        let told: VpcParts | undefined;
        let devices = new Map(vteps.map((vtep) => [vtep, noParts('vpc-1')]));
        for (const [at, [made, forgets]] of versions.entries()) {
          const now = state(made, at + 1);
          whole = partsOf(now, whole);
          const before = told;
          devices = new Map(
            [...devices].map(([vtep, device]) => {
              // Who remembers what it told compares values; who does not asks for digests.
              const known =
                forgets || before === undefined
                  ? knownOn(device)
                  : { ...knownOn(device), places: before.places };
              return [vtep, bring(device, whole, vtep, known)];
            }),
          );
          told = whole;
          for (const [vtep, device] of devices) {
            const carried = groupsCarried(whole, (each) => each.vtep === vtep);
            assert.deepEqual(normal(stateOf(device)), normal(now, carried));
            assert.equal(device.places.digest, partsOf(now).places.digest);
          }
        }
      }),
    );
  });

  it('keeps the same objects and digests where a new document says the same', () => {
    const [made] = fc.sample(content, { numRuns: 1, seed: 4 });
    assert.ok(made !== undefined);
    const before = partsOf(state(made, 1));
    const after = partsOf(wireCopy(state(made, 2)), before);
    assert.deepEqual([...after.objects], [...before.objects]);
    assert.equal(
      difference({ ...nothingKnown, ...knownOn(before) }, after, objectsFor(after, new Set(groupIds))),
      undefined,
    );
  });
});

describe('places', () => {
  const places = (delta: Partial<PlacesDelta>): PlacesDelta => ({
    ...{ vpcId: 'vpc-1', version: 1, set: [], removed: [] },
    ...delta,
  });
  const moves = fc.array(
    fc.record({ host: fc.constantFrom(1, 2, 3), gone: fc.boolean(), vtep: fc.constantFrom(...vteps) }),
    { minLength: 1, maxLength: 8 },
  );

  it('are the same whatever the order in which changes are told, and however often', () => {
    fc.assert(
      fc.property(moves, fc.infiniteStream(fc.nat()), (steps, order) => {
        const [sample] = fc.sample(port(1), { numRuns: 1, seed: 1 });
        assert.ok(sample !== undefined);
        const epochs = new Map<number, number>();
        const deltas = steps.map(({ host, gone, vtep }, at) => {
          const epoch = (epochs.get(host) ?? 0) + 1;
          epochs.set(host, epoch);
          const eniId = `eni-${host}`;
          const one = { ...sample, eniId, ip: `10.0.0.${host}`, vtep, epoch };
          return places(gone ? { version: at + 1, removed: [eniId] } : { version: at + 1, set: [one] });
        });
        const inOrder = changeParts(noParts('vpc-1'), [], deltas);
        const shuffled = [...deltas, ...deltas].map((delta) => ({ delta, key: order.next().value ?? 0 }));
        shuffled.sort((a, b) => a.key - b.key);
        const anyhow = changeParts(
          noParts('vpc-1'),
          [],
          shuffled.map(({ delta }) => delta),
        );
        assert.deepEqual(
          new Map([...anyhow.places.entries].map(([eniId, { port: each }]) => [eniId, each])),
          new Map([...inOrder.places.entries].map(([eniId, { port: each }]) => [eniId, each])),
        );
        assert.equal(anyhow.places.digest, inOrder.places.digest);
      }),
    );
  });
});

describe('objects', () => {
  const made = (version: number, mtu: number): NetworkObject => {
    const body = { ...{ vni: 7, cidrs: ['10.0.0.0/16'], dnsServers: [], domainName: 'x', mtu } };
    const what = { kind: 'vpc' as const, id: 'vpc-1', body };
    return { ...what, vpcId: 'vpc-1', version, digest: digestOf(what) };
  };
  const to = (object: NetworkObject | undefined, from?: string | null) => ({
    ...{ kind: 'vpc' as const, id: 'vpc-1', vpcId: 'vpc-1', from, to: object },
  });
  const codeOf = (work: () => unknown): string => {
    try {
      work();
      return 'ok';
    } catch (error) {
      return PandoError.from(error).code;
    }
  };
  const none: Objects = new Map();

  it('go from a first state to a second; another first state is drift, and says what there is', () => {
    const [a, b, c] = [made(1, 1_400), made(2, 1_450), made(3, 1_500)];
    const first = changeObjects(none, [to(a, null)]);
    assert.equal(
      codeOf(() => changeObjects(first, [to(b, c.digest)])),
      'Conflict',
    );
    const second = changeObjects(first, [to(b, a.digest)]);
    const held = second.get(keyOf(a));
    assert.deepEqual([held?.current, held?.previous], [b, a]);
    assert.equal(changeObjects(second, [to(b, a.digest)]), second, 'repeated: the same as once');
    assert.deepEqual(changeObjects(second, [to(a, b.digest)]).get(keyOf(a))?.current, a, 'and back');
    try {
      changeObjects(second, [to(c, a.digest)]);
      assert.fail('it must refuse');
    } catch (error) {
      assert.match(PandoError.from(error).details?.has ?? '', new RegExp(b.digest));
    }
  });

  it('without a first state the newer one stays', () => {
    const [a, b] = [made(1, 1_400), made(2, 1_450)];
    const held = changeObjects(none, [to(b)]);
    assert.equal(changeObjects(held, [to(a)]), held);
    assert.deepEqual(changeObjects(held, [to(undefined)]), none);
  });

  it('are refused when they are none', () => {
    const a = made(1, 1_400);
    for (const wrong of [
      { ...a, digest: '0'.repeat(32) },
      { ...a, id: 'vpc-2' },
      { ...a, body: { mtu: 'x' } },
      { ...a, vpcId: 'vpc-2' },
    ])
      assert.equal(
        codeOf(() => changeObjects(none, [to(wrong)])),
        'InvalidParameterValue',
      );
    const acl = { kind: 'network-acl' as const, id: 'acl-1', vpcId: 'vpc-1', body: {} };
    const change = { ...acl, to: { ...acl, version: 1, digest: digestOf(acl) } };
    assert.equal(
      codeOf(() => changeObjects(none, [change])),
      'InvalidParameterValue',
    );
  });
});
