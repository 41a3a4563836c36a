import assert from 'node:assert/strict';
import { test } from 'node:test';
import { labName, labOf } from '../support/labName.ts';

test('whatever a lab appends to its name, what is left of it is told from what is another’s', () => {
  const lab = labName();
  for (const name of [lab, `${lab}r`, `${lab}-c1`, `${lab}0-card`, `${lab}0-card-vpc-1`])
    assert.deepEqual(labOf(name), { lab, pid: process.pid }, name);
  for (const name of ['lo', 'ptx', 'eth0-a', `x${lab}`, lab.slice(0, 7)])
    assert.equal(labOf(name), undefined);
});
