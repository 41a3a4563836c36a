/** The decision of S3.1 and the shards of S3.9, as properties: any replica of the router agrees, and one account stays in its share. */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { type CellChoice, chooseCells, type Demand, demandOf, demandTable } from '#router/demand.ts';

interface TestCell {
  readonly cellId: string;
  readonly zone: string;
  readonly state: 'active' | 'draining';
  readonly takes?: {
    readonly vcpusMax?: number;
    readonly memoryMibMax?: number;
    readonly tenancies?: string[];
  };
}

const cells = Array.from(
  { length: 20 },
  (_, i): TestCell => ({
    cellId: `cell-${i}`,
    zone: `zone-${i % 3}`,
    state: i === 19 ? 'draining' : 'active',
    ...(i % 5 === 0 ? { takes: { vcpusMax: 2, memoryMibMax: 2048, tenancies: ['default'] } } : {}),
  }),
);
const account = fc.stringMatching(/^[0-9]{12}$/);
const sizes = ['p1.small', 'p1.xlarge', 'custom.250m.192', 'custom.2000m.4096', 'm5.4xlarge'].map(
  (InstanceType) => demandOf({ InstanceType }).size,
);
const request = fc.record({
  accountId: account,
  key: fc.string(),
  zone: fc.constantFrom(undefined, 'zone-0', 'zone-1', 'zone-2', 'nowhere'),
  size: fc.constantFrom(undefined, ...sizes),
  tenancy: fc.constantFrom('default', 'dedicated'),
});
type Request = Parameters<typeof chooseCells>[0];
const plain = { zone: undefined, size: undefined, tenancy: 'default' };

const fits = ({ zone, size, tenancy }: Request, cell: TestCell): boolean =>
  cell.state === 'active' &&
  (zone === undefined || cell.zone === zone) &&
  (cell.takes === undefined ||
    (tenancy === 'default' && (size === undefined || (size.vcpusMilli <= 2_000 && size.memoryMib <= 2_048))));

const all = <C>({ shard, others }: CellChoice<C>): readonly C[] => [...shard, ...others];
const ids = (chosen: readonly TestCell[]): string[] => chosen.map(({ cellId }) => cellId);
const shardOf = (accountId: string, of: readonly TestCell[], size: number): string[] =>
  ids(chooseCells({ accountId, key: '', ...plain }, of, size).shard).sort();

describe('the demand indicator (S3.1)', () => {
  it('gives the same choice whatever the order of the list: any replica agrees', () => {
    fc.assert(
      fc.property(
        request,
        fc.integer({ min: 1, max: 5 }),
        fc.shuffledSubarray(cells, { minLength: cells.length }),
        (asked, size, shuffled) => {
          assert.deepEqual(chooseCells(asked, shuffled, size), chooseCells(asked, cells, size));
        },
      ),
    );
  });

  it('gives every active cell that suits the demand once, and no other', () => {
    fc.assert(
      fc.property(request, fc.integer({ min: 1, max: 5 }), (asked, size) => {
        const fit = cells.filter((cell) => fits(asked, cell));
        const choice = chooseCells(asked, cells, size);
        assert.deepEqual(ids(all(choice)).sort(), ids(fit).sort());
        assert.equal(choice.shard.length, Math.min(size, fit.length));
      }),
    );
  });

  it('spreads an account’s requests evenly over its cells', () => {
    const counts = new Map<string, number>();
    for (let i = 0; i < 3_000; i += 1) {
      const [first] = chooseCells({ accountId: '1', key: `token-${i}`, ...plain }, cells, 3).shard;
      counts.set(first?.cellId ?? '', (counts.get(first?.cellId ?? '') ?? 0) + 1);
    }
    assert.equal(counts.size, 3);
    for (const count of counts.values()) assert.ok(count > 850 && count < 1_150, String(count));
  });

  it('reads every property by its table, and hashes content alike in whatever order it is written', () => {
    const input = {
      InstanceType: 'custom.250m.192',
      Placement: { AvailabilityZone: 'zone-1', Tenancy: 'host' },
      NetworkInterfaces: [{ SubnetId: 'subnet-1' }],
      ClientToken: 't',
    };
    const { size, ...rest } = demandOf(input);
    assert.deepEqual([size?.vcpusMilli, size?.memoryMib], [250, 192], 'a custom size needs no entry (S3.6)');
    const wanted: Omit<Demand, 'size'> = {
      ...{ zone: 'zone-1', zoneId: undefined, subnetId: 'subnet-1', tenancy: 'host', key: 't' },
    };
    assert.deepEqual(rest, wanted);
    assert.deepEqual(Object.keys(demandTable).sort(), Object.keys(demandOf({})).sort());
    assert.equal(demandOf({ InstanceType: 'custom-0.25-192' }).size, undefined);
    assert.equal(demandOf({ A: 1, B: { C: 2, D: 3 } }).key, demandOf({ B: { D: 3, C: 2 }, A: 1 }).key);
    assert.notEqual(demandOf({ InstanceType: 'a' }).key, demandOf({ InstanceType: 'b' }).key);
  });
});

describe('shards of accounts (S3.9)', () => {
  const active = cells.map((cell): TestCell => ({ ...cell, state: 'active' }));

  it('are the same for every request of an account that leaves the zone open', () => {
    fc.assert(
      fc.property(account, fc.string(), fc.string(), (accountId, one, other) => {
        const of = (key: string) => ids(chooseCells({ accountId, key, ...plain }, active, 3).shard).sort();
        assert.deepEqual(of(one), of(other));
      }),
    );
  });

  it('change by at most one cell when a cell comes or goes, and only where that one is', () => {
    fc.assert(
      fc.property(account, fc.nat(19), fc.integer({ min: 1, max: 5 }), (accountId, gone, size) => {
        const before = shardOf(accountId, active, size);
        const without = active.filter((_, i) => i !== gone);
        const after = shardOf(accountId, without, size);
        const lost = before.filter((id) => !after.includes(id));
        assert.deepEqual(lost, before.includes(`cell-${gone}`) ? [`cell-${gone}`] : []);
        assert.equal(after.filter((id) => !before.includes(id)).length, lost.length);
      }),
    );
  });

  it('are worn evenly, and few accounts have all their cells in common', () => {
    const ten = active.slice(0, 10);
    const shards = Array.from({ length: 2_000 }, (_, i) => shardOf(`account-${i}`, ten, 3));
    for (const { cellId } of ten) {
      const worn = shards.filter((shard) => shard.includes(cellId)).length;
      assert.ok(worn > 500 && worn < 700, `${cellId}: ${worn} of 2,000, 600 expected`);
    }
    const [flooding = []] = shards;
    const alike = shards.filter((shard) => shard.join() === flooding.join()).length;
    // One of 120 shards: 17 are expected.
    assert.ok(alike < 40, `${alike} accounts have the same cells as the one that floods`);
    const untouched = shards.filter((shard) => !shard.some((id) => flooding.includes(id))).length;
    assert.ok(untouched > 450, `${untouched} accounts share no cell with it, 583 expected`);
  });
});
