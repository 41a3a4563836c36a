import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { difference, groupsCarried, nothingKnown, objectsFor } from '#base/network/needs.ts';
import { changeParts, noParts, partsOf, stateOf } from '#base/network/parts.ts';
import { desiredOnCard } from '#card/model/desired.ts';
import { entriesOf, kernelDiff } from '#card/model/kernelDiff.ts';
import { emptyModel, type Model } from '#card/model/model.ts';
import type { LocalPort } from '#card/model/place.ts';
import { isEmptyPlan, plan } from '#card/model/plan.ts';
import type { VpcPort, VpcState } from '#contracts/network.ts';
import { portOf, vpcOf } from './lab.ts';
import { execute, state as kernelOf, snapshot } from './planModel.ts';

const ownVtep = '198.18.1.11';
const vteps = [ownVtep, '198.18.1.12', '198.18.1.13', undefined];

const rule = fc.record({
  protocol: fc.constantFrom('-1', '1', '6', '17', '47'),
  fromPort: fc.option(fc.integer({ min: -1, max: 200 }), { nil: undefined }),
  toPort: fc.option(fc.integer({ min: 200, max: 300 }), { nil: undefined }),
  cidr: fc.constantFrom('0.0.0.0/0', '10.0.0.0/24', '192.0.2.1/32', '::/0'),
});
const groupRule = fc.record({
  protocol: fc.constant('-1'),
  groupId: fc.constantFrom('sg-1', 'sg-2', 'sg-3'),
});
const rules = fc.array(fc.oneof(rule, groupRule), { maxLength: 4 });

const somePort = (host: number): fc.Arbitrary<VpcPort> =>
  fc
    .record({
      vtep: fc.constantFrom(...vteps),
      epoch: fc.integer({ min: 1, max: 3 }),
      sourceDestCheck: fc.boolean(),
      groupIds: fc.subarray(['sg-1', 'sg-2', 'sg-3']),
    })
    .map((more) => portOf(host, more.vtep, more));

const target = fc.oneof(
  fc.constant({ kind: 'blackhole' as const }),
  fc.constant({ kind: 'local' as const }),
  fc.constant({ kind: 'internet-gateway' as const, id: 'igw-1' }),
  fc.constantFrom('eni-10', 'eni-11', 'eni-99').map((eniId) => ({ kind: 'interface' as const, eniId })),
);

interface Situation {
  state: VpcState;
  locals: { ports: Map<string, LocalPort>; forwards: Map<string, string> };
}

const situation: fc.Arbitrary<Situation> = fc
  .record({
    ports: fc.tuple(...[10, 11, 12, 13].map((host) => fc.option(somePort(host), { nil: undefined }))),
    local: fc.subarray([10, 11, 12, 13]),
    wired: fc.boolean(),
    active: fc.boolean(),
    arriving: fc.boolean(),
    preparedRedirect: fc.option(fc.constant({ ip: '198.18.1.12', port: 5001 }), { nil: undefined }),
    redirect: fc.option(fc.constant({ ip: '198.18.1.13', port: 5000 }), { nil: undefined }),
    forwarded: fc.subarray(['eni-10', 'eni-12']),
    groups: fc
      .subarray(['sg-1', 'sg-2', 'sg-3'])
      .chain((ids) =>
        fc.tuple(
          ...ids.map((groupId) =>
            fc.record({ groupId: fc.constant(groupId), ingress: rules, egress: rules }),
          ),
        ),
      ),
    destination: fc.constantFrom('0.0.0.0/0', '192.0.2.0/24', '198.51.100.7/32'),
    target,
    gateway: fc.boolean(),
  })
  .map((s) => {
    const ports = s.ports.filter((port) => port !== undefined);
    const base = vpcOf('vpc-1', 7, 1, ports);
    // A group that a rule names must have its chain or at least its members; the state always declares those it uses.
    const state: VpcState = {
      ...base,
      groups: s.groups,
      subnets: base.subnets.map((subnet) => ({
        ...subnet,
        routes: [{ destination: s.destination, target: s.target }],
      })),
      internetGateway: s.gateway ? { id: 'igw-1', vtep: '198.18.1.2', mac: '02:00:00:00:ff:01' } : undefined,
    };
    const locals = new Map(
      s.local.map((host): [string, LocalPort] => [
        `eni-${host}`,
        {
          tap: `tap${host}`,
          wired: s.wired,
          active: s.active,
          arriving: s.arriving,
          preparedRedirect: s.preparedRedirect,
          redirect: s.redirect,
          port: portOf(host, ownVtep, { epoch: 2 }),
        },
      ]),
    );
    return {
      state,
      locals: { ports: locals, forwards: new Map(s.forwarded.map((id) => [id, '198.18.1.12'])) },
    };
  });

const desired = ({ state, locals }: Situation) => desiredOnCard(state, locals, new Map(), ownVtep);

/** What a card should hold with one port, attached to it. */
const modelOf = (port: VpcPort, local: Partial<LocalPort>) =>
  desiredOnCard(
    vpcOf('vpc-1', 7, 1, [port]),
    {
      ports: new Map([['eni-10', { tap: 'tap10', wired: true, active: true, port, ...local }]]),
      forwards: new Map(),
    },
    new Map(),
    ownVtep,
  );

describe('plan', () => {
  it('brings any state to any other, as if the other had been made from nothing', () => {
    fc.assert(
      fc.property(situation, situation, (a, b) => {
        const [before, after] = [desired(a), desired(b)];
        const kernel = kernelOf();
        execute(kernel, plan(emptyModel, before));
        execute(kernel, plan(before, after));
        const fresh = kernelOf();
        execute(fresh, plan(emptyModel, after));
        assert.deepEqual(snapshot(kernel), snapshot(fresh));
      }),
      { numRuns: 300 },
    );
  });

  it('from the parts that a card needs it is the same as from the whole document', () => {
    fc.assert(
      fc.property(situation, ({ state, locals }) => {
        const whole = partsOf(state);
        const isOwn = ({ eniId, vtep }: VpcPort): boolean => vtep === ownVtep || locals.ports.has(eniId);
        const wanted = objectsFor(whole, groupsCarried(whole, isOwn));
        const told = difference(nothingKnown, whole, wanted);
        assert.ok(told !== undefined);
        const card = stateOf(changeParts(noParts(state.vpcId), told.objects, [told.places]));
        assert.ok(card !== undefined);
        const model = (of: VpcState) => desiredOnCard(of, locals, new Map(), ownVtep);
        assert.deepEqual(model(card), model(state));
      }),
    );
  });

  it('is shown as what goes and what comes: nothing where it does nothing, and the other way round on the way back', () => {
    fc.assert(
      fc.property(situation, situation, (a, b) => {
        const [before, after] = [desired(a), desired(b)];
        const lines = kernelDiff(before, after);
        assert.equal(lines.length === 0, isEmptyPlan(plan(before, after)), lines.join('\n'));
        const swapped = lines.map((line) => line.replace(/^[+-]/, (sign) => (sign === '+' ? '-' : '+')));
        assert.deepEqual(kernelDiff(after, before).sort(), swapped.sort());
        const count = (sign: string): number => lines.filter((line) => line.startsWith(sign)).length;
        const entries = (of: Model): number => entriesOf(of).reduce((sum, [, each]) => sum + each.length, 0);
        assert.equal(count('+') - count('-'), entries(after) - entries(before));
      }),
      { numRuns: 300 },
    );
  });

  it('changes nothing where nothing differs', () => {
    fc.assert(fc.property(situation, (a) => assert.ok(isEmptyPlan(plan(desired(a), desired(a))))));
  });

  it('moves a redirected port by one forwarding entry and one route', () => {
    const port = portOf(10, ownVtep);
    const to = { ip: '198.18.1.12', port: 5000 };
    const steps = plan(modelOf(port, {}), modelOf(port, { redirect: to }));
    assert.deepEqual(steps, {
      nft: [],
      bridgeAdd: ['fdb replace 02:00:00:00:00:0a dev vx0 dst 198.18.1.12 port 5000 self permanent'],
      ipAdd: [
        'neigh replace 10.0.0.10 lladdr 02:00:00:00:00:0a dev vx0 nud permanent',
        'route replace 10.0.0.10 dev vx0 table main',
      ],
      ipDelete: [],
      bridgeDelete: [],
    });
  });

  it('moves a redirected port by its route alone, where it was aimed before', () => {
    const port = portOf(10, ownVtep);
    const to = { ip: '198.18.1.12', port: 5000 };
    const steps = plan(modelOf(port, { preparedRedirect: to }), modelOf(port, { redirect: to }));
    assert.deepEqual(steps, {
      nft: [],
      bridgeAdd: [],
      ipAdd: ['route replace 10.0.0.10 dev vx0 table main'],
      ipDelete: [],
      bridgeDelete: [],
    });
  });

  it('leads what arrives for a port to its tap before what it sends itself', () => {
    const port = portOf(10, '198.18.1.12');
    const { routes, rules } = modelOf(port, { active: false, arriving: true });
    assert.equal(routes.get('10.0.0.10 table main'), 'dev vx0');
    assert.equal(routes.get('10.0.0.10 table 1000'), 'dev tap10 src 10.0.0.1');
    for (const from of ['vx0', 'lo']) assert.ok(rules.has(`pref 50 iif ${from} lookup 1000`));
    const after = modelOf(port, { active: true, port: { ...port, epoch: 2 } });
    assert.equal(after.routes.get('10.0.0.10 table main'), 'dev tap10 src 10.0.0.1');
    assert.ok(![...after.routes.keys(), ...after.rules].some((each) => /(table|lookup) 1000$/.test(each)));
  });

  it('refuses values that are more than a word', () => {
    const bad = vpcOf('vpc-1', 7, 1, [portOf(10, ownVtep, { mac: '02:00 lladdr x' })]);
    const locals = { ports: new Map(), forwards: new Map([['eni-10', '198.18.1.12']]) };
    assert.throws(() => desiredOnCard(bad, locals, new Map(), ownVtep), { code: 'InvalidParameterValue' });
  });
});
