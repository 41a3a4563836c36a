import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { XMLParser, XMLValidator } from 'fast-xml-parser';
import { PandoError } from '#contracts/errors.ts';
import { callHandler, isKnownAction, serviceOf } from '#wire/actions.ts';
import { endDryRun } from '#wire/dryRun.ts';
import { encodeResponse, encodeResponseParts } from '#wire/encode.ts';
import { encodeError, publicError } from '#wire/encodeError.ts';
import { schemaSource } from '#wire/schema.ts';
import { reviveInput } from '#wire/transport.ts';

const parser = new XMLParser({ ignoreAttributes: false, parseTagValue: false, trimValues: false });

function bodyOf(xml: string): string {
  return xml.slice(xml.indexOf('</requestId>') + '</requestId>'.length, xml.lastIndexOf('</'));
}

describe('a response', () => {
  it('echoes the version in its namespace', () => {
    assert.match(
      encodeResponse('DescribeRegions', {}, 'r', '2013-02-01'),
      /xmlns="http:\/\/ec2\.amazonaws\.com\/doc\/2013-02-01\/"/,
    );
    assert.match(
      encodeResponse('DescribeRegions', {}, 'r'),
      new RegExp(`doc/${schemaSource('ec2').version}/"`),
    );
  });

  it('has an empty element for an empty list, and none for what is absent', () => {
    assert.equal(bodyOf(encodeResponse('DescribeRegions', { Regions: [] }, 'r')), '<regionInfo/>');
    assert.equal(bodyOf(encodeResponse('DescribeRegions', { Regions: undefined }, 'r')), '');
    assert.equal(
      bodyOf(encodeResponse('DescribeInstances', { Reservations: [{ Groups: [] }] }, 'r')),
      '<reservationSet><item><groupSet/></item></reservationSet>',
    );
  });

  it('says true where the action has no output', () => {
    assert.equal(bodyOf(encodeResponse('DeleteKeyPair', { Return: true }, 'r')), '<return>true</return>');
    assert.equal(bodyOf(encodeResponse('DeleteVpc', {}, 'r')), '<return>true</return>');
  });

  it('takes times as dates or as text', () => {
    const body = (LaunchTime: unknown) =>
      bodyOf(encodeResponse('RunInstances', { Instances: [{ LaunchTime }] }, 'r'));
    assert.equal(body(new Date(0)), body('1970-01-01T00:00:00Z'));
    assert.match(body(new Date(0)), /<launchTime>1970-01-01T00:00:00\.000Z</);
  });

  it('is refused, as an internal error that says nothing, if it has a value of a wrong type', () => {
    for (const wrong of [
      { Instances: 'x' },
      { Instances: [{ AmiLaunchIndex: '0' }] },
      { OwnerId: 5 },
      { Instances: [{ LaunchTime: 'soon' }] },
      { Instances: [{ AmiLaunchIndex: Number.NaN }] },
    ]) {
      assert.throws(
        () => encodeResponse('RunInstances', wrong, 'r'),
        (error) =>
          error instanceof PandoError && error.code === 'InternalError' && !/type/.test(error.message),
      );
    }
  });

  it('is well-formed, and gives text back, whatever the text', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'binary' }), (text) => {
        const xml = encodeResponse('CreateKeyPair', { KeyName: `[${text}]` }, 'r');
        assert.equal(XMLValidator.validate(xml), true, xml);
        const read: unknown = parser.parse(xml).CreateKeyPairResponse.keyName;
        // biome-ignore lint/suspicious/noControlCharactersInRegex: what XML cannot carry.
        const carried = `[${text.toWellFormed().replaceAll(/[\u0000-\u0008\u000b\u000c\u000e-\u001f\ufffe\uffff]/g, '\ufffd')}]`;
        assert.equal(String(read).replaceAll('&#xD;', '\r'), carried);
      }),
    );
  });

  it('comes in parts that make the same whole', () => {
    const output = {
      Reservations: Array.from({ length: 175 }, (_, i) => ({ ReservationId: `r-${i}` })),
      NextToken: 't',
    };
    const parts = [...encodeResponseParts('DescribeInstances', output, 'r')];
    assert.ok(parts.length > 5);
    const whole = encodeResponse('DescribeInstances', output, 'r');
    assert.equal(parts.join(''), whole);
    assert.equal(whole.match(/<item>/g)?.length, 175);
  });

  it("is wrapped in STS's way for STS", () => {
    assert.equal(serviceOf('GetCallerIdentity'), 'sts');
    const xml = encodeResponse('GetCallerIdentity', { Account: '1', Arn: 'a' }, 'r');
    const root = parser.parse(xml).GetCallerIdentityResponse;
    assert.deepEqual(root.GetCallerIdentityResult, { Account: '1', Arn: 'a' });
    assert.deepEqual(root.ResponseMetadata, { RequestId: 'r' });
  });
});

describe('an error', () => {
  it("is in EC2's format, escaped, with its details", () => {
    const error = new PandoError('InvalidParameterValue', 'a < b', { details: { pendingId: 'p&1' } });
    const root = parser.parse(encodeError(error, 'r'));
    assert.deepEqual(root.Response, {
      Errors: {
        Error: {
          Code: 'InvalidParameterValue',
          Message: 'a < b',
          Details: { item: { Key: 'pendingId', Value: 'p&1' } },
        },
      },
      RequestID: 'r',
    });
  });

  it("is in STS's format for STS", () => {
    const root = parser.parse(
      encodeError(new PandoError('InvalidClientTokenId', 'no'), 'r', 'sts'),
    ).ErrorResponse;
    assert.deepEqual(root.Error, { Type: 'Sender', Code: 'InvalidClientTokenId', Message: 'no' });
    assert.equal(root.RequestId, 'r');
  });

  it('between our own parts is shown to no client', () => {
    const lost = new PandoError('HostUnreachable', 'host h-1 at 10.0.0.1 is silent');
    assert.equal(publicError(lost).code, 'Unavailable');
    assert.equal(publicError(lost).status, 503);
    const stale = new PandoError('StaleEpoch', 'epoch 3 < 4', {
      cause: new PandoError('InvalidParameterValue', 'inner'),
    });
    assert.equal(publicError(stale).code, 'InternalError');
    const large = publicError(new PandoError('MessageTooLarge', 'The answer is too large: 17000000 bytes'));
    assert.deepEqual([large.code, large.status, large.retryable], ['InvalidParameterValue', 400, false]);
    assert.match(large.message, /^The answer to this request is too large/);
    assert.ok(!/h-1|epoch|inner/.test(encodeError(lost, 'r') + encodeError(stale, 'r')));
  });
});

describe('an action', () => {
  it('is known by its name alone', () => {
    for (const name of ['RunInstances', 'GetCallerIdentity', 'DescribeCarrierGateways'])
      assert.ok(isKnownAction(name));
    for (const name of ['', 'runInstances', '__proto__', 'toString']) assert.ok(!isKnownAction(name));
  });

  it('is carried out by its handler, and refused without one', async () => {
    const handlers = {
      DescribeRegions: async (_input: object, context: string) => ({ Regions: [{ RegionName: context }] }),
    };
    assert.deepEqual(await callHandler({ handlers, members: {} }, 'DescribeRegions', {}, 'edge-1'), {
      Regions: [{ RegionName: 'edge-1' }],
    });
    await assert.rejects(callHandler({ handlers, members: {} }, 'RunInstances', {}, ''), {
      code: 'UnsupportedOperation',
      status: 400,
    });
  });

  it('ends with DryRunOperation where it was a dry run', () => {
    assert.throws(() => endDryRun({ DryRun: true }), { code: 'DryRunOperation', status: 412 });
    endDryRun({ DryRun: false });
    endDryRun({});
  });

  it('has an input that is checked again when it comes as JSON', () => {
    const revive = (json: unknown) => () => reviveInput('RunInstances', json);
    assert.throws(revive({ MinCount: 1 }), { code: 'MissingParameter' });
    assert.throws(revive({ MinCount: '1', MaxCount: 1 }), { code: 'InvalidParameterValue' });
    assert.throws(revive(JSON.parse('{"MinCount":1,"MaxCount":1,"__proto__":{"x":1}}')), {
      code: 'UnknownParameter',
    });
    assert.throws(revive(null), { code: 'InvalidParameterValue' });
    assert.throws(revive({ MinCount: 1, MaxCount: 1, TagSpecifications: {} }), {
      code: 'InvalidParameterValue',
    });
    assert.deepEqual(revive({ MinCount: 1, MaxCount: 1, DryRun: null })(), { MinCount: 1, MaxCount: 1 });
  });
});
