import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { chooseCells, demandOf, launchKey } from '#router/chooseCells.ts';

const cells = Array.from({ length: 20 }, (_, i) => ({
  cellId: `cell-${i}`,
  zone: `zone-${i % 3}`,
  state: i === 19 ? ('draining' as const) : ('active' as const),
}));
const request = fc.record({
  accountId: fc.stringMatching(/^[0-9]{12}$/),
  key: fc.string(),
  zone: fc.constantFrom(undefined, 'zone-0', 'zone-1', 'zone-2', 'nowhere'),
});

describe('chooseCells (S3.1)', () => {
  it('gives the same order whatever the order of the list: any replica agrees', () => {
    fc.assert(
      fc.property(request, fc.shuffledSubarray(cells, { minLength: cells.length }), (asked, shuffled) => {
        assert.deepEqual(chooseCells(asked, shuffled), chooseCells(asked, cells));
      }),
    );
  });

  it('gives every active cell of the zone once, and no other', () => {
    fc.assert(
      fc.property(request, (asked) => {
        const fit = cells.filter(
          (c) => c.state === 'active' && (asked.zone === undefined || c.zone === asked.zone),
        );
        assert.deepEqual(chooseCells(asked, cells).toSorted(byId), fit.toSorted(byId));
      }),
    );
  });

  it('keeps the order of the others when a cell comes or goes', () => {
    fc.assert(
      fc.property(request, fc.nat(18), (asked, gone) => {
        const rest = cells.filter((_, i) => i !== gone);
        const expected = chooseCells(asked, cells).filter((c) => c !== cells[gone]);
        assert.deepEqual(chooseCells(asked, rest), expected);
      }),
    );
  });

  it('spreads evenly', () => {
    const counts = new Map<string, number>();
    for (let i = 0; i < 5_000; i += 1) {
      const [first] = chooseCells({ accountId: '1', key: `token-${i}`, zone: undefined }, cells.slice(0, 10));
      counts.set(first?.cellId ?? '', (counts.get(first?.cellId ?? '') ?? 0) + 1);
    }
    assert.equal(counts.size, 10);
    for (const count of counts.values()) assert.ok(count > 400 && count < 600, String(count));
  });

  it('reads the demand, and hashes content alike in whatever order it is written', () => {
    const input = {
      InstanceType: 'custom-0.25-192',
      Placement: { AvailabilityZone: 'zone-1', Tenancy: 'host' },
      NetworkInterfaces: [{ SubnetId: 'subnet-1' }],
    };
    assert.deepEqual(demandOf(input), {
      size: 'custom-0.25-192',
      zone: 'zone-1',
      zoneId: undefined,
      subnetId: 'subnet-1',
      tenancy: 'host',
    });
    assert.equal(launchKey({ A: 1, B: { C: 2, D: 3 } }), launchKey({ B: { D: 3, C: 2 }, A: 1 }));
    assert.notEqual(launchKey({ InstanceType: 'a' }), launchKey({ InstanceType: 'b' }));
    assert.equal(launchKey({ ClientToken: 't', InstanceType: 'a' }), 't');
  });
});

const byId = (a: { cellId: string }, b: { cellId: string }): number => (a.cellId < b.cellId ? -1 : 1);
