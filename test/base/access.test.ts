/** Every method of every contract, called by every wrong identity: generated, so that a new method is among them by itself. */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { type AccessFacts, boundsFor, checkBounds, endsOf } from '#base/rpc/access.ts';
import type { Contract } from '#base/rpc/contract.ts';
import * as tables from '#contracts/access.ts';
import {
  type Access,
  type Bounds,
  backendAccess,
  capacityAccess,
  cardAccess,
  cardRebuildAccess,
  cellOperatorAccess,
  cellPushAccess,
  handoverAccess,
  hostAccess,
  hostEventsAccess,
  operatorAccess,
  regionAccess,
  rolloutAccess,
  rolloutHttpAccess,
  vpcChangesAccess,
} from '#contracts/access.ts';
import { backendContract } from '#contracts/backend.ts';
import { capacityContract } from '#contracts/capacity.ts';
import { cardContract } from '#contracts/card.ts';
import { cardRebuildContract } from '#contracts/card-rebuild.ts';
import { cellOperatorContract } from '#contracts/cell-operator.ts';
import { handoverContract } from '#contracts/handover.ts';
import { hostContract, hostEventsContract } from '#contracts/host.ts';
import { identityText, isExpected, parseIdentity, type Role, roles } from '#contracts/identity.ts';
import { newCellId, newId } from '#contracts/ids.ts';
import { operatorContract } from '#contracts/operator.ts';
import { cellPushContract, regionContract } from '#contracts/region.ts';
import { rolloutContract } from '#contracts/rollout.ts';
import { rolloutHttpContract } from '#contracts/rollout-http.ts';
import { vpcChangesContract } from '#contracts/vpc-changes.ts';

const ends = {
  region: 'spiffe://pando/region/-/region',
  cell: 'spiffe://pando/cell/cell-a/cell-a-1',
  agent: 'spiffe://pando/agent/cell-a/h-1',
  card: 'spiffe://pando/card/cell-a/card-1',
} as const;

const contracts: readonly { name: string; contract: Contract; access: Access<Contract>; self: string }[] = [
  { name: 'backend', contract: backendContract, access: backendAccess, self: ends.cell },
  { name: 'capacity', contract: capacityContract, access: capacityAccess, self: ends.cell },
  { name: 'region', contract: regionContract, access: regionAccess, self: ends.region },
  { name: 'operator', contract: operatorContract, access: operatorAccess, self: ends.region },
  { name: 'rollouts', contract: rolloutContract, access: rolloutAccess, self: ends.region },
  { name: 'rollouts over HTTP', contract: rolloutHttpContract, access: rolloutHttpAccess, self: ends.region },
  { name: 'VPC changes', contract: vpcChangesContract, access: vpcChangesAccess, self: ends.region },
  { name: 'cell operator', contract: cellOperatorContract, access: cellOperatorAccess, self: ends.cell },
  { name: 'host events', contract: hostEventsContract, access: hostEventsAccess, self: ends.cell },
  { name: 'cell push', contract: cellPushContract, access: cellPushAccess, self: ends.cell },
  { name: 'host', contract: hostContract, access: hostAccess, self: ends.agent },
  { name: 'handover', contract: handoverContract, access: handoverAccess, self: ends.agent },
  { name: 'card', contract: cardContract, access: cardAccess, self: ends.card },
  { name: 'rebuilds of a card', contract: cardRebuildContract, access: cardRebuildAccess, self: ends.card },
];

const [own, foreign] = [newCellId('instance', 1), newCellId('instance', 2)];
const facts: AccessFacts = {
  cellNumber: (cell) => ({ 'cell-a': 1, 'cell-b': 2 })[cell],
  instanceOf: async (eniId) => ({ 'eni-own': own as string, 'eni-foreign': foreign })[eniId],
  isInVpc: async (number, vpcId) => vpcId === (number === 1 ? 'vpc-own' : 'vpc-foreign'),
};

/** What cell-a, or its host h-1, may name; and the same of others. */
const owned: Readonly<Record<string, unknown>> = {
  ...{ cellId: 'cell-a', hostId: 'h-1', instanceId: own, instanceIds: [own] },
  instances: [{ instanceId: own }],
  ...{ eniId: 'eni-own', vpcId: 'vpc-own', claim: { cellId: 'cell-a' } },
};
const others: Readonly<Record<string, unknown>> = {
  ...{ cellId: 'cell-b', hostId: 'h-2', instanceId: foreign, instanceIds: [own, foreign] },
  instances: [{ instanceId: own }, { instanceId: foreign }],
  ...{ eniId: 'eni-foreign', vpcId: 'vpc-foreign', claim: { cellId: 'cell-b' } },
};

const call = async (
  { access, self }: (typeof contracts)[number],
  method: string,
  caller: string,
  params: Readonly<Record<string, unknown>>,
): Promise<void> => {
  const ends = endsOf(caller, self);
  const bounds = boundsFor(access, method, ends);
  if (bounds !== 'any') await checkBounds(method, bounds, ends, params as never, facts);
};
const refused = { code: 'UnauthorizedOperation' };

/** One of each role, of cell-a where it has a cell. */
const rightful = (role: Role): string =>
  identityText(
    role,
    role === 'agent' ? 'h-1' : `${role}-1`,
    ['cell', 'agent', 'card'].includes(role) ? 'cell-a' : undefined,
  );

for (const each of contracts)
  describe(`who may call: ${each.name}`, () => {
    for (const method of Object.keys(each.contract))
      it(method, async () => {
        const rule = each.access[method];
        assert.ok(rule !== undefined && Object.keys(rule).length > 0, 'no rule');
        const strangers = ['vmm', 'vm', 'admin', 'constructor', '__proto__', 'toString'];
        for (const caller of strangers)
          await assert.rejects(call(each, method, `spiffe://pando/${caller}/-/x`, owned), refused, caller);
        for (const caller of [
          '',
          'spiffe://other/cell/cell-a/x',
          'spiffe://pando/cell/a/b/c',
          'spiffe://pando/CELL/a/b',
        ])
          await assert.rejects(call(each, method, caller, owned), refused, caller);
        for (const role of roles) {
          const bounds: 'any' | Bounds<never> | undefined = rule[role];
          if (bounds === undefined) {
            await assert.rejects(call(each, method, rightful(role), owned), refused, role);
            continue;
          }
          await call(each, method, rightful(role), owned);
          if (bounds === 'any') continue;
          const { sameCell, ...named } = bounds;
          if (Object.keys(named).length > 0)
            await assert.rejects(call(each, method, rightful(role), others), refused, `${role}, of others`);
          // The same name in another cell, in none, and in one that there is not.
          const name = role === 'agent' ? 'h-1' : `${role}-1`;
          for (const cell of ['cell-b', undefined, 'cell-c'])
            await assert.rejects(
              call(each, method, identityText(role, name, cell), owned),
              refused,
              `${role} of ${cell}`,
            );
          if (sameCell === undefined || Object.keys(named).length > 0)
            await assert.rejects(call(each, method, identityText(role, 'h-2', 'cell-b'), owned), refused);
        }
      });
  });

it('every table of rules is among those that are tried', () => {
  const tried = new Set<unknown>(contracts.map(({ access }) => access));
  assert.deepEqual(
    Object.entries(tables).flatMap(([name, table]) => (tried.has(table) ? [] : [name])),
    [],
  );
});

describe('identities', () => {
  it('of the last release say no more than they did', async () => {
    const region = contracts.find(({ name }) => name === 'region');
    const events = contracts.find(({ name }) => name === 'host events');
    assert.ok(region !== undefined && events !== undefined);
    // A processor's cell is in its name.
    await call(region, 'region.joinCell', 'spiffe://pando/cell/cell-a-1', owned);
    await call(region, 'region.allocateInterface', 'spiffe://pando/cell/cell-a-2', owned);
    for (const caller of [
      'spiffe://pando/cell/cell-b-1',
      'spiffe://pando/cell/cell',
      'spiffe://pando/cell/x',
    ])
      for (const method of [
        'region.joinCell',
        'region.allocateInterface',
        'region.placeInterface',
        'region.vpcState',
      ])
        await assert.rejects(call(region, method, caller, owned), refused, `${caller} ${method}`);
    await call(events, 'host.hello', 'spiffe://pando/agent/h-1', owned);
    await assert.rejects(call(events, 'host.hello', 'spiffe://pando/agent/h-2', owned), refused);
  });

  it('are read in both forms, and compared across them by role and name', () => {
    assert.deepEqual(parseIdentity('spiffe://pando/agent/cell-a/h-1'), {
      ...{ role: 'agent', cell: 'cell-a', name: 'h-1', former: false },
    });
    assert.equal(parseIdentity('spiffe://pando/region/-/region')?.cell, undefined);
    const pairs = [
      ['spiffe://pando/region/-/region', 'spiffe://pando/region/region', true],
      ['spiffe://pando/region/region', 'spiffe://pando/region/-/region', true],
      ['spiffe://pando/cell/cell-a/', 'spiffe://pando/cell/cell-a/cell-a-1', true],
      ['spiffe://pando/cell/cell-a/', 'spiffe://pando/cell/cell-a-1', true],
      ['spiffe://pando/cell/cell-a/', 'spiffe://pando/cell/cell-b-1', false],
      ['spiffe://pando/cell/cell-a/', 'spiffe://pando/cell/cell-b/cell-a-1', false],
      ['spiffe://pando/cell/cell-a/cell-a-1', 'spiffe://pando/cell/cell-b/cell-a-1', false],
      ['spiffe://pando/card/cell-a/card-1', 'spiffe://pando/agent/card-1', false],
      ['spiffe://pando/card/cell-a/card-1', 'spiffe://pando/card/card-2', false],
      ['spiffe://pando/cell/', 'spiffe://pando/cell/cell-a/cell-a-1', true],
      ['spiffe://pando/cell/', 'spiffe://other/cell/x', false],
    ] as const;
    for (const [expected, presented, is] of pairs)
      assert.equal(isExpected(expected, presented), is, `${expected} ${presented}`);
  });

  it('an id that is none, and facts that are missing, are refused', async () => {
    const region = contracts.find(({ name }) => name === 'region');
    assert.ok(region !== undefined);
    for (const instanceId of ['', 'i-', 'i-001', newId('securityGroup'), `x${own}`])
      await assert.rejects(
        call(region, 'region.allocateInterface', rightful('cell'), { ...owned, instanceId }),
        refused,
      );
    const both = endsOf(rightful('cell'), region.self);
    for (const method of ['region.allocateInterface', 'region.placeInterface', 'region.vpcState']) {
      const bounds = boundsFor(region.access, method, both);
      assert.notEqual(bounds, 'any');
      if (bounds !== 'any')
        await assert.rejects(checkBounds(method, bounds, both, owned as never, {}), refused);
    }
    assert.throws(() => boundsFor(undefined, 'region.cells', both), refused);
    assert.throws(() => boundsFor({}, 'region.cells', both), refused);
  });
});
