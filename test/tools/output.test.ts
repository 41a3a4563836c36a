/** What test files that run at the same time report comes one file after the other, whole. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { Output, type TestEvent } from '../../tools/test-runner/output.ts';

/** Files by number, each with how many events it has; and whose turn it is. */
const runs = fc.record({
  counts: fc.array(fc.integer({ min: 0, max: 5 }), { minLength: 1, maxLength: 6 }),
  turns: fc.array(fc.nat(), { minLength: 60, maxLength: 60 }),
});

test('property: every event comes, in its file’s order, and no other file’s is between two of a file', async () => {
  await fc.assert(
    fc.asyncProperty(runs, async ({ counts, turns }) => {
      const output = new Output();
      const seen: string[] = [];
      output.stream.on('data', ({ type }: TestEvent) => seen.push(type));
      const left = new Map(counts.map((count, file) => [String(file), count]));
      const begun = new Set<string>();
      for (const turn of turns) {
        const file = [...left.keys()][turn % left.size];
        if (file === undefined) break;
        const count = left.get(file) ?? 0;
        if (!begun.has(file)) {
          begun.add(file);
          output.begin(file);
        } else if (count > 0) {
          output.say(file, { type: `${file}:${count}`, data: undefined });
          left.set(file, count - 1);
        } else {
          left.delete(file);
          output.end(file);
        }
      }
      for (const [file, count] of left) {
        if (!begun.has(file)) output.begin(file);
        for (let at = count; at > 0; at--) output.say(file, { type: `${file}:${at}`, data: undefined });
        output.end(file);
      }
      output.stream.end();
      await new Promise((resolve) => output.stream.once('end', resolve));
      const order = [...new Set(seen.map((each) => each.split(':')[0] ?? ''))];
      const expected = order.flatMap((file) =>
        Array.from(
          { length: counts[Number(file)] ?? 0 },
          (_, at) => `${file}:${(counts[Number(file)] ?? 0) - at}`,
        ),
      );
      assert.deepEqual(seen, expected);
      assert.equal(
        seen.length,
        counts.reduce((sum, count) => sum + count, 0),
      );
    }),
  );
});

test('the file that runs the longest is shown as it goes', () => {
  const output = new Output();
  const seen: string[] = [];
  const read = (): void => {
    for (let event = output.stream.read(); event !== null; event = output.stream.read())
      seen.push(event.type);
  };
  output.begin('one');
  output.begin('two');
  output.say('two', { type: 'two 1', data: undefined });
  output.say('one', { type: 'one 1', data: undefined });
  read();
  assert.deepEqual(seen, ['one 1']);
  output.end('one');
  read();
  assert.deepEqual(seen, ['one 1', 'two 1']);
  output.say('two', { type: 'two 2', data: undefined });
  read();
  assert.deepEqual(seen, ['one 1', 'two 1', 'two 2']);
});
