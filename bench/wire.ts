/**
 * What the wire costs per request on this machine: `node bench/wire.ts`. Compare two revisions on one machine,
 * side by side; the figures mean nothing across machines.
 */
import { decodeRequest } from '#wire/decode.ts';
import { encodeResponse, encodeResponseParts } from '#wire/encode.ts';
import { sha256Hex } from '#wire/sigv4/canonical.ts';
import { verifySigV4 } from '#wire/sigv4/verify.ts';

const instance = {
  InstanceId: 'i-0123456789abcdef0',
  ImageId: 'ami-0123456789abcdef0',
  InstanceType: 'm5.large',
  State: { Code: 16, Name: 'running' },
  LaunchTime: new Date(0),
  Placement: { AvailabilityZone: 'edge-1a', Tenancy: 'default' },
  PrivateIpAddress: '10.0.0.5',
  SecurityGroups: [{ GroupId: 'sg-0123456789abcdef0', GroupName: 'default' }],
  NetworkInterfaces: [
    { NetworkInterfaceId: 'eni-0123456789abcdef0', PrivateIpAddress: '10.0.0.5', Groups: [] },
  ],
  Tags: [{ Key: 'Name', Value: 'web & api' }],
};
const page = {
  Reservations: Array.from({ length: 1_000 }, () => ({ ReservationId: 'r-1', Instances: [instance] })),
};

const form =
  'Action=RunInstances&Version=2016-11-15&MinCount=1&MaxCount=2&ImageId=ami-1&InstanceType=m5.large&SubnetId=subnet-1' +
  '&SecurityGroupId.1=sg-1&TagSpecification.1.ResourceType=instance&TagSpecification.1.Tag.1.Key=Name&TagSpecification.1.Tag.1.Value=a%20b';

/** Botocore's signature of this form. */
const signed = {
  method: 'POST',
  path: '/',
  query: '',
  headers: {
    host: 'ec2.example.test:8080',
    'x-amz-date': '20260304T050607Z',
    'content-type': 'application/x-www-form-urlencoded; charset=utf-8',
    authorization:
      'AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20260304/edge-1/ec2/aws4_request, SignedHeaders=content-type;host;x-amz-date, Signature=7221de4c8d91603f8e3a4fb9f1dc9219b96f26b209d15438d34886ad607a4b54',
  },
  body: { sha256: sha256Hex('Action=DescribeRegions&Version=2016-11-15') },
};
const options = {
  lookupKey: async () => ({ secret: 'a+secret/of=letters' }),
  now: () => Date.UTC(2026, 2, 4, 5, 6, 7),
};

async function measure(name: string, times: number, run: () => unknown): Promise<void> {
  for (let i = 0; i < times / 10; i++) await run();
  const started = process.cpuUsage().user;
  for (let i = 0; i < times; i++) await run();
  const micros = (process.cpuUsage().user - started) / times;
  console.log(`${name.padEnd(44)} ${micros.toFixed(1).padStart(9)} µs`);
}

await measure('decode RunInstances', 20_000, () => decodeRequest(form));
await measure('verify a signature', 20_000, () => verifySigV4(signed, options));
await measure('encode one instance', 20_000, () =>
  encodeResponse('DescribeInstances', { Reservations: [{ Instances: [instance] }] }, 'r'),
);
await measure('encode 1000 instances', 50, () => encodeResponse('DescribeInstances', page, 'r'));
await measure('the first 50 of them', 500, () => {
  const parts = encodeResponseParts('DescribeInstances', page, 'r');
  for (let i = 0; i < 3; i++) parts.next();
});
