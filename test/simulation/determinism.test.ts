/** One seed is one history: what ran before in the process, and in which process it runs, makes no difference. */
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { simulate } from './simulate.ts';
import { makeTemplate, type Template } from './template.ts';

let template: Template;
before(async () => {
  template = await makeTemplate({ cells: 2, processorsPerCell: 2, hostsPerCell: 2, routers: 2, accounts: 2 });
});
after(() => template.close());

const traceOf = async (
  seed: number,
): Promise<{ readonly hash: string; readonly lines: readonly string[] }> => {
  const lines: string[] = [];
  const { hash } = await simulate({
    template,
    seed,
    workMs: 1_500,
    clients: 3,
    faultEveryMs: 400,
    tell: (line) => lines.push(line),
  });
  return { hash, lines };
};

/** As another process would run it. */
const inProcess = async <T>(pid: number, run: () => Promise<T>): Promise<T> => {
  const own = Object.getOwnPropertyDescriptor(process, 'pid');
  Object.defineProperty(process, 'pid', { ...own, value: pid });
  try {
    return await run();
  } finally {
    Object.defineProperty(process, 'pid', { ...own });
  }
};

test('the same seed has the same trace, whatever ran before it and in whichever process; another seed has another', async () => {
  const first = await traceOf(9);
  const other = await traceOf(10);
  const again = await inProcess(process.pid + 1, () => traceOf(9));
  const differs = again.lines.findIndex((line, at) => line !== first.lines[at]);
  assert.equal(
    differs,
    -1,
    `line ${differs}:\n${first.lines.slice(differs - 3, differs + 1).join('\n')}\nand then\n${again.lines[differs]}`,
  );
  assert.equal(again.hash, first.hash);
  assert.notEqual(other.hash, first.hash);
});
