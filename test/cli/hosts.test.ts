/** `pando host` and `pando pool` against a simulated region: what they show, refuse and do. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';

const home = join(import.meta.dirname, '../..');
const directory = mkdtempSync(join(tmpdir(), 'pando-hosts-'));
const pando = (...args: string[]) => {
  const { status, stdout, stderr } = spawnSync(join(home, 'pando'), args, {
    encoding: 'utf8',
    env: { ...process.env, PANDO_DIR: directory, NO_COLOR: '1' },
    timeout: 120_000,
  });
  return { status, out: `${stdout}${stderr}` };
};

before(() => {
  const { status, out } = pando('up', '--simulated', '--instant');
  assert.equal(status, 0, out);
});
after(() => {
  pando('down');
  rmSync(directory, { recursive: true, force: true });
});

test('a dry run shows the strategy and does nothing; a rebuild follows its steps to the end', () => {
  const dry = pando('host', 'rebuild', 'host-2', '--dry-run');
  assert.equal(dry.status, 0, dry.out);
  assert.match(dry.out, /hostImage +left out +.*as wanted/);
  assert.match(dry.out, /diagnostics +30 min +no diagnostics on record/);
  assert.match(pando('host', 'show', 'host-2').out, /^host-2 \(h-\d+\): serves/);
  assert.doesNotMatch(pando('host', 'show', 'host-2').out, /On record/);
  const rebuilt = pando('host', 'rebuild', 'host-2');
  assert.equal(rebuilt.status, 0, rebuilt.out);
  assert.match(rebuilt.out, /✔ scrub .*no byte of a former tenant stays/);
  assert.match(rebuilt.out, /host-2 serves again after/);
  const shown = pando('host', 'show', 'host-2').out;
  assert.match(shown, /On record:[\s\S]*✔ scrub/);
  assert.match(shown, /rests until/);
});

test('a drained host says so, and takes VMs again', () => {
  assert.match(pando('host', 'drain', 'host-1').out, /host-1 is drained: it is empty/);
  assert.match(pando('host', 'list').out, /host-1 .*draining: drained: it is empty/);
  assert.match(pando('host', 'drain', 'host-1', '--undo').out, /takes VMs again/);
});

test('pools are made, shown and ended; impossible ones are refused with a reason', () => {
  assert.match(pando('pool', 'list').out, /There is no pool/);
  const wrong = pando('pool', 'set', 'small', '--type', 'p1.nano', '--low', '3', '--target', '2');
  assert.equal(wrong.status, 1);
  assert.match(wrong.out, /low \(3\) is above target \(2\)/);
  const none = pando('pool', 'set', 'small', '--type', 'p1.none', '--low', '0', '--target', '0');
  assert.match(none.out, /p1\.none/);
  const made = pando(
    'pool',
    'set',
    'small',
    '--type',
    'p1.nano',
    '--low',
    '0',
    '--target',
    '1',
    '--hosts',
    'host-1,host-3',
  );
  assert.equal(made.status, 0, made.out);
  const { out } = pando('pool', 'list');
  assert.match(out, /small +p1\.nano +0 +1 +1 of 1 +host-1 +cell-a/);
  assert.match(out, /host-3 +cell-b/);
  assert.match(pando('pool', 'drop', 'small').out, /is no more/);
  assert.match(pando('pool', 'drop', 'small').out, /There is no pool small/);
});

test('names that there are not', () => {
  assert.match(pando('host', 'show', 'host-99').out, /There is no host host-99\. There are: host-1/);
  assert.match(pando('host', 'rebuild', 'host-1', '--pool', 'none').out, /Pool none is not known/);
  for (const each of ['host', 'pool'])
    assert.match(pando(each, '--help').out, new RegExp(`pando ${each} list`));
});
