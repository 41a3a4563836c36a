import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { test } from 'node:test';
import { codeDigest } from '#node/codeDigest.ts';

test('a process has other code when a room that it is made of, or a package, has changed; and only then', (t) => {
  const tree = mkdtempSync(join(tmpdir(), 'pando-code-'));
  t.after(() => rmSync(tree, { recursive: true, force: true }));
  const write = (path: string, text: string): void => {
    mkdirSync(dirname(join(tree, path)), { recursive: true });
    writeFileSync(join(tree, path), text);
  };
  write('package-lock.json', '1');
  write('src/card/main.ts', "import { a } from '#base/a.ts';");
  // Run as a program of its own, imported by nobody.
  write('src/card/helper/main.ts', '1');
  write('src/base/a.ts', "const { b } = await import('#contracts/b.ts');");
  write('src/contracts/b.ts', "import '#base/a.ts';");
  write('src/router/main.ts', "import { a } from '#base/a.ts';");
  const digests = (): string[] => ['card', 'router'].map((room) => codeDigest(room, tree));
  /** Whose code a change is: the card's, the router's. */
  const changes = (path: string, text: string): boolean[] => {
    const before = digests();
    write(path, text);
    return digests().map((digest, at) => digest !== before[at]);
  };
  assert.deepEqual(changes('src/router/main.ts', "import { a } from '#base/a.ts'; 2"), [false, true]);
  assert.deepEqual(changes('src/card/helper/main.ts', '2'), [true, false]);
  assert.deepEqual(changes('src/contracts/b.ts', '2'), [true, true]);
  assert.deepEqual(changes('package-lock.json', '2'), [true, true]);
  assert.deepEqual(changes('src/cell/main.ts', 'nobody imports it'), [false, false]);
  assert.notEqual(codeDigest('card', tree), codeDigest('router', tree));
});
