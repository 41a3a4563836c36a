import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { cellsMax, runIndexMax } from '#lab/plan.ts';
import { processorsPerCell } from '#lab/processes.ts';
import { type Account, idsMissing, uidFirst, uidsPerRun, userOf } from '#node/users.ts';

const accounts: Account[] = [
  ...(['ca', 'region', 'router', 'region-store', 'webhooks'] as const).map((role) => ({ role })),
  ...Array.from({ length: cellsMax }, (_, at) => at + 1).flatMap((cell): Account[] => [
    { role: 'cell-store', cell },
    ...Array.from(
      { length: processorsPerCell },
      (_, at): Account => ({ role: 'processor', cell, replica: at + 1 }),
    ),
  ]),
];

test('no two processes of all runs of a machine share a user', () => {
  const runs = Array.from({ length: runIndexMax + 1 }, (_, index) => index);
  const uids = runs.flatMap((index) => accounts.map((account) => userOf(index, account).uid));
  assert.equal(new Set(uids).size, uids.length);
  for (const uid of uids) assert.ok(uid >= uidFirst && uid < uidFirst + uidsPerRun * (runIndexMax + 1));
});

test('a group is shared by those who may reach one store, and by nobody else', () => {
  const groups = Map.groupBy(
    [0, 1].flatMap((index) =>
      accounts.map((account) => ({ index, account, gid: userOf(index, account).gid })),
    ),
    ({ gid }) => gid,
  );
  for (const members of groups.values()) {
    const stores = members.map(({ index, account }) =>
      'cell' in account ? `${index} cell ${account.cell}` : `${index} ${account.role.replace('-store', '')}`,
    );
    assert.equal(new Set(stores).size, 1, stores.join(', '));
  }
});

test('a machine has the range, a container with a few ids does not', () => {
  assert.equal(idsMissing('         0          0 4294967295\n', 0), undefined);
  assert.equal(idsMissing(`0 1000 1\n1 ${uidFirst} 65536\n`, 0)?.includes('container'), true);
  assert.equal(idsMissing(`0 1000 1\n${uidFirst} 100000 150\n`, 0), undefined);
  assert.notEqual(idsMissing(`0 1000 1\n${uidFirst} 100000 150\n`, 1), undefined);
});

test('the range is outside of what Linux gives to accounts, to sub-ids and to containers', () => {
  const setting = (name: string): number =>
    Number(new RegExp(`^${name}\\s+(\\d+)`, 'm').exec(readFileSync('/etc/login.defs', 'utf8'))?.[1] ?? 0);
  for (const name of ['UID_MAX', 'SUB_UID_MAX', 'GID_MAX', 'SUB_GID_MAX'])
    assert.ok(setting(name) < uidFirst, name);
  assert.ok(uidFirst > 1_879_048_191, 'the last id that systemd gives to containers');
});
