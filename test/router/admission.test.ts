import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { routerLimits } from '#router/config.ts';
import { Admission } from '#router/http/admission.ts';

describe('Admission', () => {
  const admission = () =>
    new Admission(routerLimits.parse({ inFlightMax: 3, accountInFlightMax: 2, bufferedBytesMax: 100 }));
  const exceeded = { code: 'RequestLimitExceeded' };

  it('gives places up to its limit, and again when they are given back', () => {
    const door = admission();
    const releases = [door.enter(), door.enter(), door.enter()];
    assert.throws(() => door.enter(), exceeded);
    for (const release of releases) release();
    door.enter();
  });

  it('counts each account by itself', () => {
    const door = admission();
    const release = door.enterAccount('a');
    door.enterAccount('a');
    assert.throws(() => door.enterAccount('a'), exceeded);
    door.enterAccount('b');
    release();
    door.enterAccount('a');
    assert.throws(() => door.enterAccount('a'), exceeded);
  });

  it('counts the bytes of all bodies together', () => {
    const door = admission();
    door.hold(60);
    assert.throws(() => door.hold(41), exceeded);
    door.release(60);
    door.hold(100);
  });
});
