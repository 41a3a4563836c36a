/**
 * The deliberate faults with which the simulation's own checks were tried (`node bench/simulate.ts --break NAME` for each) still name a
 * place in the code.
 */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { mutated, mutations } from './mutations.ts';

for (const mutation of mutations)
  test(`${mutation.name}: ${mutation.rule}`, () => {
    const text = readFileSync(new URL(`../../${mutation.file}`, import.meta.url), 'utf8');
    assert.notEqual(mutated(mutation, text), text);
  });
