/** One region under any name: names of the region and its zones are put into the client's terms, nothing else is. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { regionNames } from '#router/regionNames.ts';

const names = regionNames('us-east-1', 'eu-west-3');
assert.ok(names !== undefined);

test('a request that is signed for this very region is left alone', () => {
  assert.equal(regionNames('us-east-1', 'us-east-1'), undefined);
});

test('what cannot be a region’s name is refused', () => {
  for (const signed of ['', 'EU', 'a/b', 'x'.repeat(65), 'a:b'])
    assert.throws(() => regionNames('us-east-1', signed), { code: 'SignatureDoesNotMatch' });
});

test('the region, zones, ARNs and DNS names are the client’s, wherever they stand', () => {
  const own = {
    Regions: [{ RegionName: 'us-east-1', Endpoint: 'ec2.us-east-1.compute.internal' }],
    Subnets: [{ AvailabilityZone: 'us-east-1c', SubnetArn: 'arn:aws:ec2:us-east-1:1:subnet/subnet-1' }],
    Instances: [
      { Placement: { AvailabilityZone: 'us-east-1a' }, PrivateDnsName: 'ip-1.us-east-1.compute.internal' },
    ],
  };
  assert.deepEqual(names.outward(own), {
    Regions: [{ RegionName: 'eu-west-3', Endpoint: 'ec2.eu-west-3.compute.internal' }],
    Subnets: [{ AvailabilityZone: 'eu-west-3c', SubnetArn: 'arn:aws:ec2:eu-west-3:1:subnet/subnet-1' }],
    Instances: [
      { Placement: { AvailabilityZone: 'eu-west-3a' }, PrivateDnsName: 'ip-1.eu-west-3.compute.internal' },
    ],
  });
  assert.deepEqual(names.inward(names.outward(own)), own);
});

test('the client’s own words stay: tags, user data, filters on tags, names that only look alike', () => {
  const input = {
    Tags: [{ Key: 'where', Value: 'eu-west-3a' }],
    UserData: 'eu-west-3',
    KeyName: 'eu-west-3',
    GroupName: 'my eu-west-3 group',
    Description: 'eu-west-3-backup',
    Filters: [
      { Name: 'tag:where', Values: ['eu-west-3a'] },
      { Name: 'tag-value', Values: ['eu-west-3a'] },
    ],
  };
  assert.deepEqual(names.inward(input), input);
  const zone = { Filters: [{ Name: 'availability-zone', Values: ['eu-west-3a'] }] };
  assert.deepEqual(names.inward(zone), { Filters: [{ Name: 'availability-zone', Values: ['us-east-1a'] }] });
});

test('any value keeps its shape, and one without the names is unchanged', () => {
  const value = fc
    .jsonValue({ maxDepth: 5 })
    .filter((each) => !/us-east-1|eu-west-3/.test(JSON.stringify(each)));
  fc.assert(
    fc.property(value, (any) => {
      assert.deepEqual(names.outward({ any }), { any });
    }),
  );
});
