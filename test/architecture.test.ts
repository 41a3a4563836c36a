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
  // What a card's kernel is to have is worked out in one place, for real cards and simulated ones.
  simhost: ['card/model', 'base', 'contracts'],
  ca: ['base', 'contracts'],
  webhooks: ['base', 'contracts'],
  slots: [],
  reconfiguration: [],
  cell: ['reconfiguration', 'slots', 'wire', 'base', 'contracts'],
  rollout: ['contracts'],
  region: ['rollout', 'wire', 'base', 'contracts'],
  router: ['wire', 'base', 'contracts'],
  node: ['base', 'contracts'],
  lab: ['node', 'base', 'contracts'],
  simulated: ['simhost', 'router', 'region', 'cell', 'lab', 'node', 'wire', 'base', 'contracts'],
  cli: ['lab', 'node', 'wire', 'base', 'contracts'],
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
        const may = allowed[room]?.some((each) => target.startsWith(`src/${each}/`)) ?? false;
        return top !== 'src' || (other !== room && !may);
      })
      .map((target) => `${file} imports ${target}`);
  });
  assert.deepEqual(wrong, []);
});

test('one file makes claims, gives them back and counts them (I3): placement has no side door', () => {
  const writes = /update hosts\s+set[^`]*\bused_\w+\s*=|\b(?:insert into|delete from|update) claims\b/;
  const writers = sources.filter((file) => writes.test(read(file)));
  // The check computes counters anew; the schema steps make claims of what the last release wrote, and give slots back to reservations.
  assert.deepEqual(writers, [
    'src/cell/store/claims-check.ts',
    'src/cell/store/claims.ts',
    'src/cell/store/schema-0010-claims.ts',
    'src/cell/store/schema-0020-placement.ts',
    'src/cell/store/schema-0026-reservations.ts',
  ]);
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

/** Where the wall clock is meant, and why. Everything else measures, and measures by `base/monotonic.ts`. */
const wallClockPlaces: Readonly<Record<string, string>> = {
  'src/base/pki.ts': 'validity of certificates',
  'src/region/identity-key.ts': 'validity of its certificate',
  'src/agent/migration/credential.ts': 'validity of certificates',
  'src/node/pkiFiles.ts': 'validity of certificates',
  'src/base/renewal.ts': 'validity of certificates',
  'src/ca/policy.ts': 'validity of certificates',
  'src/router/router.ts': 'signatures are dated (SigV4)',
  'src/region/instance-credentials.ts': 'credentials of instances expire',
  'src/region/accounts.ts': 'signing keys are of days (SigV4)',
  'src/region/rollouts/open.ts':
    'time windows of rollouts are people’s; bake times outlive a process: where its steady clock begins',
  'src/cli/ec2Client.ts': 'signatures are dated (SigV4)',
  'src/cli/capacityClient.ts': 'signatures are dated (SigV4)',
  'src/cell/clock.ts':
    'timestamps of the store and of the API: launch time, ages of tokens and terminated instances',
  'src/cell/store/workflows.ts': 'timestamps of the store, shown to people',
  'src/base/otlp.ts': 'spans are dated',
  'src/agent/tombstones.ts': 'ages of records that outlive a boot of the machine',
  'src/agent/launch.ts': 'when a VMM ended, shown to people',
  'src/agent/vm.ts': 'when a VMM ended, shown to people',
  'src/simhost/vm.ts': 'when a VMM ended, shown to people',
  'src/agent/handlers.ts': 'the console shows when it was read',
  'src/simhost/sim-host.ts': 'the console shows when it was read',
  'src/card/operation.ts': 'recorded network operations are dated',
  'src/simhost/card.ts': 'recorded network operations are dated',
  'src/card/device.ts': 'when the card was started, shown to people',
  'src/agent/image-cache.ts': 'last use of an image, kept as the mtime of its directory',
  'src/node/processIdentity.ts': 'when a process began, shown to people',
  'src/node/supervisorMain.ts': 'lines of the log are dated',
  'src/cli/commands/up.ts': 'which processes began since, by their dates',
  'src/cli/commands/status.ts': 'how long ago, shown to people',
  'src/cli/commands/workflow.ts': 'how long ago and how long still, shown to people',
};

/** Where the cell's injected clock is asked for the wall time, and why. Whatever else its code measures goes by `clock.monotonicMs()`. */
const cellWallTimes: Readonly<Record<string, readonly string[]>> = {
  'times that people read, and kept as such': [
    ...['actions/console', 'actions/lifecycle', 'actions/profile-associations', 'actions/run-instances'],
    ...['health/recorder', 'hosts/adoption', 'lifecycle', 'notices/deliveries', 'notices/queue'],
    ...['notices/requests', 'reconfiguration/validation', 'workflows/launch', 'workflows/terminate'],
  ],
  'how old a thing is by the times that people read of it': [
    ...['actions/find', 'actions/status-checks', 'cell', 'notices/notices', 'reservations/upkeep'],
  ],
  'times that people chose': [
    ...['actions/capacity-reservations', 'actions/event-start', 'chosen-starts', 'event-windows'],
    'workflows/steps/empty-host',
  ],
  'credentials expire': ['hosts/metadata'],
  'the last recovery, kept in the row; a clock that was stepped back keeps none waiting': ['hosts/reconcile'],
};

test('the cell asks its clock for the wall time in a few named places only', () => {
  const named = Object.values(cellWallTimes).flatMap((files) => files.map((file) => `src/cell/${file}.ts`));
  const readers = sources.filter((file) => file.startsWith('src/cell/') && /\bclock\.now\b/.test(read(file)));
  assert.deepEqual(readers.toSorted(), named.toSorted(), 'use clock.monotonicMs(), or name the file and why');
});

test('time that measures is monotonic: the wall clock is read in a few named places only', () => {
  const clocks = /\bDate\.now\b|\bnew Date\(\)|\bDate\(\)|\bperformance\.(?:now|timeOrigin)\b|\bhrtime\b/;
  const helper = 'src/base/monotonic.ts';
  const readers = sources.filter((file) => clocks.test(read(file)) && file !== helper);
  const unnamed = readers.filter((file) => !(file in wallClockPlaces));
  assert.deepEqual(unnamed, [], 'use monotonicMs() of #base/monotonic.ts, or name the file and why');
  const measuring = readers.filter((file) => /performance\.(?:now|timeOrigin)|hrtime/.test(read(file)));
  assert.deepEqual(measuring, [], 'one helper: monotonicMs() of #base/monotonic.ts');
  // Read from their own lists, so that a place which no longer reads it does not stay allowed.
  const stale = Object.keys(wallClockPlaces).filter(
    (file) => sources.includes(file) && !readers.includes(file),
  );
  assert.deepEqual(stale, []);
});

/** Words that say several things here, or nothing to people of the field, and the words to use: ARCHITECTURE.md, "Words". */
const bannedWords: Readonly<Record<string, string>> = {
  hold: 'reserve, own, pin, buffer, plug',
  holds: 'reserves, owns, pins, buffers, plugs',
  held: 'reserved, owned, pinned, buffered, plugged',
  whenever: 'waitForEvent',
  rhythm: 'PeriodicTask',
  pace: 'rate, interval',
  modest: 'low CPU shares',
  aim: 'preparedRedirect',
  straighten: 'switchToDirectPath',
  said: 'output, reason, message',
  door: 'listener',
  doors: 'listeners',
};

/** Columns and fields that peers, stores and disks of the last release know, and the field's own: a lock and an ownership are held. */
const keptNames = new Set(['held', 'heldBytes', 'LockHeld', 'assertHeld']);
const keptInFile: Readonly<Record<string, string>> = { 'src/card/store.ts': 'aim' };

/** What is no comment and no text: of a template, what it puts in. */
const codeOf = (text: string): string =>
  text
    .replaceAll(/\/\*[\s\S]*?\*\//g, '')
    .replaceAll(/(?:^|\s)\/\/.*$/gm, '')
    .replaceAll(/`[^`]*`/g, (template) => (template.match(/\$\{[^}]*\}/g) ?? []).join(' '))
    .replaceAll(/'(?:[^'\\\n]|\\.)*'/g, "''");

const wordsOf = (name: string): string[] => name.split(/(?=[A-Z])|_/).map((word) => word.toLowerCase());

const bannedIn = (file: string, text: string): string[] =>
  [...new Set(codeOf(text).match(/[A-Za-z_$][\w$]*/g) ?? [])]
    .filter((name) => !keptNames.has(name) && keptInFile[file] !== name)
    .flatMap((name) => {
      const word = wordsOf(name).find((each) => Object.hasOwn(bannedWords, each));
      return word === undefined ? [] : [`${file}: ${name} (${bannedWords[word]})`];
    });

test('names in the code are those of the glossary', () => {
  assert.deepEqual(
    sources.flatMap((file) => bannedIn(file, read(file))),
    [],
  );
  const former = 'const hold = (aimOfPort: string) => { setModest(doors); };';
  assert.equal(bannedIn('src/x.ts', former).length, 4, 'the rule bites');
});

test('the escape hatches of the type system stay rare', () => {
  const count = (pattern: RegExp): number =>
    sources.reduce((sum, file) => sum + (read(file).match(pattern)?.length ?? 0), 0);
  const thousands = sources.reduce((sum, file) => sum + read(file).split('\n').length, 0) / 1000;
  const assertions = count(/\bas\s+(?!const\b)[A-Z{(]/g);
  assert.ok(assertions / thousands < 6, `${assertions} assertions in ${thousands.toFixed(1)} thousand lines`);
});
