/** The house's rules that a machine can check: who may import whom, how long a file may be, what may not be left in it. */
import assert from 'node:assert/strict';
import { globSync, readFileSync } from 'node:fs';
import { dirname, join, relative, resolve } from 'node:path';
import { test } from 'node:test';

const home = join(import.meta.dirname, '..');
const linesMax = 500;

/** Folder of `src/` → folders that it may import besides itself. ARCHITECTURE.md, "Imports run one way". */
const allowed: Readonly<Record<string, readonly string[]>> = {
  contracts: [],
  base: ['contracts'],
  wire: ['base', 'contracts'],
  card: ['base', 'contracts'],
  gateway: ['card', 'base', 'contracts'],
  agent: ['base', 'contracts'],
  simhost: ['base', 'contracts'],
  cell: ['wire', 'base', 'contracts'],
  region: ['wire', 'base', 'contracts'],
  router: ['wire', 'base', 'contracts'],
  lab: ['base', 'contracts'],
  cli: ['lab', 'wire', 'base', 'contracts'],
};

const generated = ['src/wire/schema/', 'src/contracts/gen/'];
const isGenerated = (file: string): boolean => generated.some((path) => file.startsWith(path));

const files = (pattern: string): string[] =>
  globSync(pattern, { cwd: home, exclude: ['**/node_modules/**'] })
    .filter((file) => !isGenerated(file))
    .sort();

const sources = files('src/**/*.ts');
const everything = [...sources, ...files('{test,bench,images,tools,apps}/**/*.{ts,tsx}')];
const read = (file: string): string => readFileSync(join(home, file), 'utf8');

/** Paths, relative to the repository, of what a file imports of ours. */
function importsOf(file: string): string[] {
  const found = [...read(file).matchAll(/(?:from|import)\s*\(?\s*['"]([#.][^'"]+)['"]/g)].map(
    (match) => match[1] ?? '',
  );
  return found.map((name) => {
    if (name.startsWith('#payments/')) return join('apps/payments/src', name.slice('#payments/'.length));
    return name.startsWith('#')
      ? join('src', name.slice(1))
      : relative(home, resolve(home, dirname(file), name));
  });
}

test('imports run one way', () => {
  const wrong = sources.flatMap((file) => {
    const room = file.split('/')[1] ?? '';
    return importsOf(file)
      .filter((target) => {
        const [top, other = ''] = target.split('/');
        return top !== 'src' || (other !== room && !allowed[room]?.includes(other));
      })
      .map((target) => `${file} imports ${target}`);
  });
  assert.deepEqual(wrong, []);
});

test('an application imports nothing of the cloud, and the cloud nothing of it', () => {
  const apps = files('apps/**/*.{ts,tsx}');
  assert.ok(apps.length > 50, 'the applications are found');
  const outward = apps.flatMap((file) => {
    const room = file.split('/').slice(0, 2).join('/');
    return importsOf(file)
      .filter((target) => !target.startsWith(`${room}/`))
      .map((target) => `${file} imports ${target}`);
  });
  const inward = [...sources, ...files('images/**/*.ts')].flatMap((file) =>
    importsOf(file)
      .filter((target) => target.startsWith('apps/'))
      .map((target) => `${file} imports ${target}`),
  );
  assert.deepEqual([...outward, ...inward], []);
});

test('every folder of src/ has a place in the map', () => {
  const rooms = new Set(sources.map((file) => file.split('/')[1] ?? ''));
  for (const room of rooms) assert.ok(room in allowed, `src/${room} is not in the list of this test`);
  const map = read('ARCHITECTURE.md');
  for (const room of rooms) assert.ok(map.includes(`src/${room}/`), `src/${room} is not in ARCHITECTURE.md`);
});

test('imports across folders go by #, those within a folder by ./', () => {
  const wrong = sources.flatMap((file) =>
    [...read(file).matchAll(/from\s+['"](\.\.\/[^'"]+)['"]/g)]
      .filter((match) => {
        const target = relative(home, resolve(home, dirname(file), match[1] ?? ''));
        return target.split('/')[1] !== file.split('/')[1];
      })
      .map((match) => `${file}: ${match[1]}`),
  );
  assert.deepEqual(wrong, []);
});

test(`no file is longer than ${linesMax} lines`, () => {
  const long = everything
    .map((file) => ({ file, lines: read(file).split('\n').length }))
    .filter(({ lines }) => lines > linesMax);
  assert.deepEqual(long, []);
});

test('no marker of unfinished work is left', () => {
  // Put together here, so that this file does not find itself.
  const markers = new RegExp(
    `\\b(${['TO', 'FIX', 'XX'].map((start, at) => start + ['DO', 'ME', 'X'][at]).join('|')})\\b`,
  );
  const left = everything.filter((file) => markers.test(read(file)));
  assert.deepEqual(left, []);
});

test('no test is switched off', () => {
  const off = new RegExp(
    `\\b(test|it|describe)\\.(${['sk', 'on', 'to'].map((start, at) => start + ['ip', 'ly', 'do'][at]).join('|')})\\(`,
  );
  const left = files('test/**/*.ts').filter((file) => off.test(read(file)));
  assert.deepEqual(left, []);
});

test('no registry or mirror is named: those of the machine are used', () => {
  const hosts = new RegExp(
    ['registry\\.npm', 'npmjs\\.', 'deb\\.deb', '/ftp\\.', 'pypi\\.', 'snapshot\\.deb'].join('|'),
  );
  const config = ['pando', 'package.json', 'package-lock.json', '.npmrc', ...files('images/**/*')].filter(
    (file) => {
      try {
        return hosts.test(read(file));
      } catch {
        return false;
      }
    },
  );
  const self = 'test/architecture.test.ts';
  const named = [
    ...everything.filter((file) => file !== self && !file.startsWith('test/cli/')),
    ...config,
  ].filter((file) => {
    try {
      return hosts.test(read(file));
    } catch {
      return false;
    }
  });
  assert.deepEqual([...new Set(named)], []);
});

test('the escape hatches of the type system stay rare', () => {
  const count = (pattern: RegExp): number =>
    sources.reduce((sum, file) => sum + (read(file).match(pattern)?.length ?? 0), 0);
  const thousands = sources.reduce((sum, file) => sum + read(file).split('\n').length, 0) / 1000;
  const assertions = count(/\bas\s+(?!const\b)[A-Z{(]/g);
  assert.ok(assertions / thousands < 6, `${assertions} assertions in ${thousands.toFixed(1)} thousand lines`);
});
