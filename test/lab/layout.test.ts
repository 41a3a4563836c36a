/** How cells and hosts of a run change: numbers are used once, what stands stays as it was. */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { withMovedHost, withNewCell, withoutCell, zonesToGrow } from '#lab/layout.ts';
import { cellsMax, hostsMax, layoutOf, planLab } from '#lab/plan.ts';
import type { RunRecord } from '#lab/runRecord.ts';

const begun = (cells: number, hostsPerCell: number, zones?: number): RunRecord => ({
  ...{ format: 1, index: 3, cells, hostsPerCell, port: 4566, regionName: 'pando-1' },
  ...(zones === undefined ? {} : { zones }),
});

type Change =
  | { readonly kind: 'add'; readonly zone: number; readonly hosts: number }
  | { readonly kind: 'retire'; readonly at: number }
  | { readonly kind: 'move'; readonly host: number; readonly to: number };

const change: fc.Arbitrary<Change> = fc.oneof(
  fc.record({ kind: fc.constant('add' as const), zone: fc.nat(3), hosts: fc.nat(4) }),
  fc.record({ kind: fc.constant('retire' as const), at: fc.nat(7) }),
  fc.record({ kind: fc.constant('move' as const), host: fc.nat(9), to: fc.nat(7) }),
);

/** Carries a change out where the plan allows it. */
const apply = (run: RunRecord, made: Change): RunRecord => {
  const { cells, hosts } = planLab(run);
  const pick = <T>(of: readonly T[], at: number): T => of[at % of.length] ?? assert.fail('none');
  try {
    switch (made.kind) {
      case 'add':
        return withNewCell(run, made);
      case 'retire':
        return withoutCell(run, pick(cells, made.at).number);
      case 'move':
        return hosts.length === 0
          ? run
          : withMovedHost(run, pick(hosts, made.host).number, pick(cells, made.to).number);
    }
  } catch (error) {
    assert.ok(error instanceof RangeError, String(error));
    return run;
  }
};

describe('the layout of a run', () => {
  it('gives every number once, keeps what stands, and puts each host into one cell that there is', () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 3 }),
        fc.integer({ min: 1, max: 3 }),
        fc.array(change, { maxLength: 20 }),
        (cells, hostsPerCell, changes) => {
          let run = begun(cells, hostsPerCell);
          for (const each of changes) {
            const before = planLab(run);
            run = apply(run, each);
            const after = planLab(run);
            const layout = layoutOf(run);
            assert.equal(new Set(layout.cells.map(({ number }) => number)).size, layout.cells.length);
            assert.ok(layout.cells.length <= cellsMax && layout.hosts.length <= hostsMax);
            assert.ok(after.cells.length > 0);
            const numbers = new Set(after.cells.map(({ number }) => number));
            assert.ok(after.hosts.every(({ cell }) => numbers.has(cell)));
            for (const host of before.hosts) {
              const now = after.hosts.find(({ number }) => number === host.number);
              assert.deepEqual(
                { ...now, cell: 0 },
                { ...host, cell: 0 },
                'its addresses and its memory stay',
              );
            }
          }
        },
      ),
    );
  });

  it('is that of the first start until it changes, with the zones that were decided then', () => {
    assert.deepEqual(
      planLab(begun(3, 1)).cells.map(({ name, zone }) => [name, zone]),
      [
        ['cell-a', 1],
        ['cell-b', 2],
        ['cell-c', 3],
      ],
    );
    assert.ok(planLab(begun(3, 1, 1)).cells.every(({ zone }) => zone === 1));
    assert.equal(planLab(withNewCell(begun(2, 1), { zone: 1, hosts: 0 })).zones, 2);
    assert.throws(() => withNewCell(begun(2, 1), { zone: 3, hosts: 0 }), /has zones pando-1a to pando-1b/);
    assert.throws(() => withNewCell(begun(8, 1), { zone: 1, hosts: 0 }), /8 cells at most/);
    assert.throws(() => withoutCell(begun(2, 1), 2), /cell-b has host-2/);
    assert.throws(() => withoutCell(withMovedHost(begun(1, 1), 1, 1), 1), /last cell/);
  });
});

describe('zones that need another cell (S3.7)', () => {
  const contents = (vms: number, hosts = 1) => ({
    ...{ cellId: 'c', hosts, hostsMax: 10, vms, vmsMax: 100, quarantined: 0, workflows: 0 },
  });
  const active = { zone: 'a', state: 'active' as const };

  it('are those in which every active cell says that a limit nears', () => {
    assert.deepEqual(zonesToGrow([{ ...active, contents: contents(79) }]), []);
    assert.deepEqual(zonesToGrow([{ ...active, contents: contents(80) }]), ['a']);
    assert.deepEqual(zonesToGrow([{ ...active, contents: contents(0, 8) }]), ['a']);
    const full = { ...active, contents: contents(100) };
    assert.deepEqual(zonesToGrow([full, { ...active, contents: contents(3) }]), [], 'one has room');
    assert.deepEqual(zonesToGrow([full, active]), [], 'one does not answer: nothing is made on a belief');
    assert.deepEqual(zonesToGrow([full, { ...active, state: 'draining', contents: contents(3) }]), ['a']);
    assert.deepEqual(zonesToGrow([full, { zone: 'b', state: 'active', contents: contents(90) }]), ['a', 'b']);
    assert.deepEqual(zonesToGrow([]), []);
  });
});
