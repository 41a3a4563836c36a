import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { type ErrorCode, PandoError } from '#contracts/errors.ts';
import { decodeRequest } from '#wire/decode.ts';
import { wireLimits } from '#wire/limits.ts';

const describeInstances = 'Action=DescribeInstances&Version=2016-11-15';
const runInstances = 'Action=RunInstances&Version=2016-11-15&MinCount=1&MaxCount=1';

function refusal(form: string): PandoError {
  try {
    decodeRequest(form);
  } catch (error) {
    assert.ok(error instanceof PandoError, String(error));
    assert.ok(error.status >= 400 && error.status < 500, error.code);
    return error;
  }
  assert.fail('the request was taken');
}

function refuses(form: string, code: ErrorCode, words?: string): void {
  const error = refusal(form);
  assert.equal(error.code, code, error.message);
  if (words !== undefined) assert.ok(error.message.includes(words), error.message);
}

describe('a request', () => {
  it('is decoded by its schema', () => {
    const { action, version, input } = decodeRequest(
      `Action=RunInstances&Version=2014-10-01&MinCount=1&MaxCount=02&DryRun=false&TagSpecification.1.Tag.1.Key=a+b` +
        `&TagSpecification.1.ResourceType=instance&BlockDeviceMapping.1.Ebs.VolumeSize=8`,
    );
    assert.equal(action, 'RunInstances');
    assert.equal(version, '2014-10-01');
    assert.deepEqual(input, {
      MinCount: 1,
      MaxCount: 2,
      DryRun: false,
      TagSpecifications: [{ Tags: [{ Key: 'a b' }], ResourceType: 'instance' }],
      BlockDeviceMappings: [{ Ebs: { VolumeSize: 8 } }],
    });
  });

  it('may be a URLSearchParams, and carry a signature in its query', () => {
    const form = new URLSearchParams(
      'Action=DescribeRegions&Version=2016-11-15&X-Amz-Signature=1&AWSAccessKeyId=k',
    );
    assert.deepEqual(decodeRequest(form).input, {});
  });

  it('has an action and a version', () => {
    refuses('Version=2016-11-15', 'MissingAction');
    refuses('Action=DescribeInstances', 'MissingParameter', 'Version');
    refuses('Action=DescribeInstances&Version=latest', 'NoSuchVersion');
    refuses('Action=Explode&Version=2016-11-15', 'InvalidAction', 'Explode');
    for (const name of ['__proto__', 'constructor', 'toString']) {
      refuses(`Action=${name}&Version=2016-11-15`, 'InvalidAction');
    }
  });

  it('names the parameter that is unknown or missing', () => {
    refuses(`${describeInstances}&Foo=1`, 'UnknownParameter', 'Foo');
    refuses(`${describeInstances}&Filter.1.Foo=1`, 'UnknownParameter', 'Filter.1.Foo');
    refuses(`${describeInstances}&MaxResults.1=5`, 'UnknownParameter', 'MaxResults.1');
    refuses(`${describeInstances}&InstanceId.x=5`, 'UnknownParameter', 'InstanceId.x');
    refuses('Action=RunInstances&Version=2016-11-15&MinCount=1', 'MissingParameter', 'MaxCount');
  });

  it('has values of its types', () => {
    for (const bad of ['', 'x', '1.5', '1e3', ' 1', '0x10', '99999999999999999999', 'NaN', 'Infinity']) {
      refuses(`${describeInstances}&MaxResults=${bad}`, 'InvalidParameterValue', 'MaxResults');
    }
    for (const [text, value] of Object.entries({ true: true, True: true, TRUE: true, False: false }))
      assert.equal(decodeRequest(`${describeInstances}&DryRun=${text}`).input.DryRun, value);
    for (const bad of ['', 'truE ', 'yes', '1', 'trueish']) {
      refuses(`${describeInstances}&DryRun=${bad}`, 'InvalidParameterValue', 'DryRun');
    }
    const spot = 'Action=DescribeSpotPriceHistory&Version=2016-11-15';
    for (const bad of [
      '',
      'now',
      '2026-13-01',
      '2026-02-30',
      '2026-02-30T00:00:00Z',
      '2026-01-01T25:00:00Z',
      '1',
    ]) {
      refuses(`${spot}&StartTime=${bad}`, 'InvalidParameterValue', 'StartTime');
    }
    const time = (text: string) => decodeRequest(`${spot}&StartTime=${text}`).input.StartTime;
    assert.deepEqual(time('2026-01-02'), new Date('2026-01-02T00:00:00Z'));
    assert.deepEqual(time('2026-01-02T03:04:05'), new Date('2026-01-02T03:04:05Z'));
    assert.deepEqual(time('2026-01-02T03:04:05.678%2B01:00'), new Date('2026-01-02T02:04:05.678Z'));
    const key = 'Action=ImportKeyPair&Version=2016-11-15&KeyName=k&PublicKeyMaterial=';
    refuses(`${key}a`, 'InvalidParameterValue', 'PublicKeyMaterial');
    refuses(`${key}a_-%3D`, 'InvalidParameterValue', 'PublicKeyMaterial');
    assert.deepEqual(decodeRequest(`${key}aGk%3D`).input.PublicKeyMaterial, new Uint8Array([0x68, 0x69]));
  });

  it('has lists in the order of their indexes, with gaps closed', () => {
    const { input } = decodeRequest(`${describeInstances}&InstanceId.10=c&InstanceId.2=b&InstanceId.1=a`);
    assert.deepEqual(input.InstanceIds, ['a', 'b', 'c']);
    const far = decodeRequest(`${describeInstances}&Filter.999999999.Name=a&Filter.999999999.Value.7=x`);
    assert.deepEqual(far.input.Filters, [{ Name: 'a', Values: ['x'] }]);
    assert.deepEqual(decodeRequest(`${describeInstances}&InstanceId=`).input.InstanceIds, []);
    refuses(`${describeInstances}&InstanceId=i-1`, 'InvalidParameterValue', 'InstanceId');
    for (const index of ['-1', '01', '1e3', '9999999999', '__proto__', '']) {
      refuses(`${describeInstances}&InstanceId.${index}=i`, 'UnknownParameter');
    }
  });

  it('gives each parameter once, in one form', () => {
    refuses(`${describeInstances}&MaxResults=5&MaxResults=5`, 'InvalidParameterValue', 'more than once');
    refuses(`${describeInstances}&Action=RunInstances`, 'InvalidParameterValue', 'more than once');
    refuses(`${describeInstances}&Filter.1=x&Filter.1.Name=y`, 'InvalidParameterValue', 'Filter.1');
    refuses(`${runInstances}&Placement=x`, 'InvalidParameterValue', 'Placement');
  });
});

describe('a hostile request', () => {
  it('meets a limit', () => {
    refuses(`${describeInstances}&InstanceId.1=${'x'.repeat(10 << 20)}`, 'RequestEntityTooLarge');
    const many = (n: number) => Array.from({ length: n }, (_, i) => `&InstanceId.${i + 1}=i`).join('');
    refuses(describeInstances + many(wireLimits.parametersMax), 'InvalidParameterValue', 'parameters');
    refuses(describeInstances + many(wireLimits.listItemsMax + 1), 'InvalidParameterValue', 'InstanceId');
    assert.ok(decodeRequest(describeInstances + many(wireLimits.listItemsMax)));
    refuses(`${describeInstances}&${'a'.repeat(1_000)}=1`, 'InvalidParameterValue');
    refuses(`${describeInstances}&${'a.'.repeat(20)}=1`, 'UnknownParameter');
  });

  it('meets them as URLSearchParams, too', () => {
    const form = new URLSearchParams([
      ['Action', 'DescribeInstances'],
      ['InstanceId.1', 'x'.repeat(2 << 20)],
    ]);
    assert.throws(() => decodeRequest(form), { code: 'RequestEntityTooLarge', status: 413 });
  });

  it('cannot reach a prototype', () => {
    for (const name of [
      '__proto__',
      '__proto__.polluted',
      'constructor.prototype.polluted',
      'hasOwnProperty',
    ]) {
      refuses(`${describeInstances}&${name}=1`, 'UnknownParameter');
      refuses(`${runInstances}&Placement.${name}=1`, 'UnknownParameter');
    }
    assert.equal(Reflect.get({}, 'polluted'), undefined);
  });

  it('refuses a value that is longer than any of EC2’s, in its words for user data, however it is encoded', () => {
    const { valueCharsMax } = wireLimits;
    for (const one of ['A', '+', '%3D', '%E2%82%AC', 'é']) {
      const many = one.repeat(valueCharsMax + 1);
      refuses(`Action=CreateKeyPair&Version=2016-11-15&KeyName=${many}`, 'InvalidParameterValue', 'KeyName');
      refuses(
        `${runInstances}&UserData=${many}`,
        'InvalidParameterValue',
        'User data is limited to 16384 bytes',
      );
    }
    const whole = 'A'.repeat(valueCharsMax);
    assert.equal(
      decodeRequest(`Action=CreateKeyPair&Version=2016-11-15&KeyName=${whole}`).input.KeyName,
      whole,
    );
  });

  it('is refused for broken escapes, and keeps strange characters as they are', () => {
    for (const broken of ['%', '%4', '%zz', '%ff', '%c3%28', '%ed%a0%80']) {
      refuses(`${describeInstances}&InstanceId.1=${broken}`, 'MalformedQueryString');
    }
    refuses(`${describeInstances}&InstanceId.1=a%00b`, 'InvalidParameterValue');
    const strange = `'; DROP TABLE instances;-- $(reboot) \`id\` \u0001\r\n<x/>&amp;`;
    const { input } = decodeRequest(`${describeInstances}&InstanceId.1=${encodeURIComponent(strange)}`);
    assert.deepEqual(input.InstanceIds, [strange]);
  });

  it('ends in a value or in a 4xx, whatever it is', () => {
    const name = fc.oneof(
      fc.constantFrom(
        'Filter',
        'InstanceId',
        'Name',
        'Value',
        'MaxResults',
        'DryRun',
        '1',
        '0',
        '-1',
        '__proto__',
        '',
        '%',
        '%2e',
        '9'.repeat(20),
      ),
      fc.string({ unit: 'binary', maxLength: 8 }),
    );
    const pair = fc.tuple(
      fc.array(name, { maxLength: 20 }).map((parts) => parts.join('.')),
      fc.string({ unit: 'binary' }),
    );
    const form = fc
      .array(
        pair.map(([key, value]) => `${key}=${value}`),
        { maxLength: 12 },
      )
      .map((pairs) => pairs.join('&'));
    fc.assert(
      fc.property(
        form,
        fc.constantFrom('DescribeInstances', 'RunInstances', 'CreateTags', 'DescribeRegions'),
        (text, action) => {
          try {
            decodeRequest(`Action=${action}&Version=2016-11-15&${text}`);
          } catch (error) {
            assert.ok(
              error instanceof PandoError && error.status >= 400 && error.status < 500,
              String(error),
            );
          }
        },
      ),
      { numRuns: 3_000 },
    );
  });
});
