import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { routerLimits } from '#router/config.ts';
import { Admission } from '#router/http/admission.ts';

describe('Admission', () => {
  const admission = () =>
    new Admission(routerLimits.parse({ inFlightMax: 3, accountInFlightMax: 2, bufferedBytesMax: 100 }));
  const exceeded = { code: 'RequestLimitExceeded' };

  it('gives places up to its limit, and again when they are given back', () => {
    const admitted = admission();
    const releases = [admitted.enter(), admitted.enter(), admitted.enter()];
    assert.throws(() => admitted.enter(), exceeded);
    for (const release of releases) release();
    admitted.enter();
  });

  it('counts each account by itself', () => {
    const admitted = admission();
    const release = admitted.enterAccount('a');
    admitted.enterAccount('a');
    assert.throws(() => admitted.enterAccount('a'), exceeded);
    admitted.enterAccount('b');
    release();
    admitted.enterAccount('a');
    assert.throws(() => admitted.enterAccount('a'), exceeded);
  });

  it('counts the bytes of all bodies together', () => {
    const admitted = admission();
    admitted.reserve(60);
    assert.throws(() => admitted.reserve(41), exceeded);
    admitted.release(60);
    admitted.reserve(100);
  });
});
