import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { ec2Error, errorCatalogue, isErrorCode, isInternalCode, PandoError } from '#contracts/errors.ts';

describe('an error', () => {
  it('has the status and the retryability of its code', () => {
    const error = ec2Error('InsufficientInstanceCapacity', 'none left', { details: { pendingId: 'p-1' } });
    assert.equal(error.status, 500);
    assert.equal(error.retryable, true);
    assert.deepEqual(error.details, { pendingId: 'p-1' });
    assert.equal(ec2Error('DryRunOperation', '').status, 412);
    assert.equal(ec2Error('RequestLimitExceeded', '').status, 503);
    assert.equal(ec2Error('AuthFailure', '').status, 401);
  });

  it('made of something thrown keeps the cause and hides its words', () => {
    const cause = new Error('password=hunter2');
    const error = PandoError.from(cause);
    assert.equal(error.code, 'InternalError');
    assert.equal(error.cause, cause);
    assert.ok(!error.message.includes('hunter2'));
    assert.equal(PandoError.from(error), error);
    for (const thrown of [undefined, null, 'text', 5])
      assert.equal(PandoError.from(thrown).code, 'InternalError');
  });
});

describe('the catalogue', () => {
  it('has HTTP errors alone, and a 5xx only where a repeated call may help', () => {
    for (const [code, { status, retryable }] of Object.entries(errorCatalogue)) {
      assert.ok(status >= 400 && status < 600, code);
      if (status >= 500) assert.ok(retryable, code);
    }
  });

  it('tells its codes from other words', () => {
    assert.ok(isErrorCode('InvalidVpcID.NotFound') && !isErrorCode('toString') && !isErrorCode('Nope'));
    assert.ok(isInternalCode('StaleEpoch') && !isInternalCode('DependencyViolation'));
  });
});
