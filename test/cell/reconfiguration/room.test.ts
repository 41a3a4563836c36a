/** Whether what leaves a host finds room elsewhere (S5.1): an empty host is worth nothing to one that cannot be emptied. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { type Leaving, type Room, withoutRoom } from '#cell/reconfiguration/room.ts';
import { fits, minus } from '#slots/amount.ts';

const amount = (memoryMib: number, vcpusMilli = 100) => ({
  ...{ vcpusMilli, memoryMib, diskMib: 0, networkMbps: 0 },
});
const leaving = (type: string, memoryMib: number, count = 1): Leaving => ({
  ...{ type, amount: amount(memoryMib), count },
});
const room = (memoryMib: number, types: readonly string[] | null = null): Room => ({
  ...{ free: amount(memoryMib, 8_000), types },
});

test('pieces on many hosts carry no VM that is bigger than each', () => {
  assert.equal(withoutRoom([leaving('big', 300)], [room(200), room(200)]), 'big');
  assert.equal(withoutRoom([leaving('small', 100, 4)], [room(200), room(200)]), undefined);
  assert.equal(withoutRoom([leaving('small', 100, 5)], [room(200), room(200)]), 'small');
});

test('a pool that gives no slots of the type carries none', () => {
  assert.equal(withoutRoom([leaving('small', 100)], [room(200, ['big'])]), 'small');
  assert.equal(withoutRoom([leaving('small', 100)], [room(200, ['big', 'small'])]), undefined);
});

test('nothing leaves: nothing is in the way, also where there is no other host', () => {
  assert.equal(withoutRoom([], []), undefined);
});

test('what is said to fit can be laid out one by one, and what is asked for is not changed by the question', () => {
  const sizes = fc.array(fc.tuple(fc.integer({ min: 1, max: 8 }), fc.integer({ min: 1, max: 4 })), {
    maxLength: 4,
  });
  const rooms = fc.array(fc.integer({ min: 0, max: 20 }), { maxLength: 4 });
  fc.assert(
    fc.property(sizes, rooms, (groups, free) => {
      const asked = groups.map(([mib, count], at) => leaving(`t${at}`, mib, count));
      const there = free.map((mib) => room(mib));
      const before = structuredClone(there);
      const answer = withoutRoom(asked, there);
      assert.deepEqual(there, before);
      const left = there.map((each) => each.free);
      const fitted = asked
        .toSorted((a, b) => b.amount.memoryMib - a.amount.memoryMib)
        .every((group) =>
          Array.from({ length: group.count }).every(() => {
            const at = left.findIndex((each) => fits(each, group.amount));
            const found = left[at];
            if (found === undefined) return false;
            left[at] = minus(found, group.amount);
            return true;
          }),
        );
      assert.equal(answer === undefined, fitted);
    }),
  );
});
