import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { PandoError } from '#contracts/errors.ts';
import { LethalRequests } from '#router/lethalRequests.ts';
import type { BackendCall } from '#router/processor.ts';

const call = (size: number, token = 't', accountId = '1'): BackendCall => ({
  requestId: 'r',
  accountId,
  principal: 'p',
  action: 'RunInstances',
  input: { ClientToken: token, UserData: 'A'.repeat(size) },
});

describe('a request that was in flight when processors were lost', () => {
  const memory = () => {
    const clock = { ms: 0 };
    return { clock, lethal: new LethalRequests(() => clock.ms) };
  };
  const refused = (lethal: LethalRequests, what: BackendCall): boolean => {
    try {
      lethal.assertHarmless(what);
      return false;
    } catch (error) {
      assert.equal(PandoError.from(error).code, 'Unavailable');
      return true;
    }
  };

  it('is refused after the third loss, also under another token, and taken again after half a minute', () => {
    const { clock, lethal } = memory();
    for (const backend of ['a', 'b', 'c']) {
      assert.equal(refused(lethal, call(5_000)), false);
      lethal.lost(call(5_000, backend), backend);
    }
    assert.equal(refused(lethal, call(5_000, 'another')), true);
    assert.equal(refused(lethal, call(5_001)), false);
    assert.equal(refused(lethal, call(5_000, 't', '2')), false);
    clock.ms += 30_000;
    assert.equal(refused(lethal, call(5_000)), false);
  });

  it('counts one loss of one processor once, however many equal requests it had', () => {
    const { clock, lethal } = memory();
    for (let at = 0; at < 50; at++) lethal.lost(call(5_000, `t${at}`), 'a');
    assert.equal(refused(lethal, call(5_000)), false);
    for (let at = 0; at < 2; at++) {
      clock.ms += 2_000;
      lethal.lost(call(5_000), 'a');
    }
    assert.equal(refused(lethal, call(5_000)), true);
  });

  it('is never refused while it is short', () => {
    const { clock, lethal } = memory();
    for (let at = 0; at < 20; at++) {
      clock.ms += 2_000;
      lethal.lost(call(10), 'a');
    }
    assert.equal(refused(lethal, call(10)), false);
  });
});
