import assert from 'node:assert/strict';
import { mkdtemp, rm } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { after, before, describe, it } from 'node:test';
import {
  DescribeRegionsCommand,
  EC2Client,
  type EC2ServiceException,
  paginateDescribeInstances,
  RunInstancesCommand,
  StopInstancesCommand,
  TerminateInstancesCommand,
} from '@aws-sdk/client-ec2';
import { GetCallerIdentityCommand, STSClient } from '@aws-sdk/client-sts';
import { exec } from '#base/exec.ts';
import { type Cloud, startCloud } from './cloud.ts';
import { accountId, keys } from './fakeRegion.ts';

describe('real clients', () => {
  let cloud: Cloud;
  let home: string;
  before(async () => {
    cloud = await startCloud();
    home = await mkdtemp(path.join(os.tmpdir(), 'pando-router-'));
  });
  after(async () => {
    await cloud.close();
    await rm(home, { recursive: true, force: true });
  });

  const sdk = () => ({
    endpoint: `http://127.0.0.1:${cloud.router.port}`,
    region: 'lab-1',
    credentials: keys.first,
  });
  const aws = async (...words: string[]): Promise<unknown> => {
    const { stdout } = await exec(
      'aws',
      ['--endpoint-url', `http://127.0.0.1:${cloud.router.port}`, '--output', 'json', ...words],
      {
        timeoutMs: 120_000,
        env: {
          PATH: process.env.PATH,
          HOME: home,
          AWS_ACCESS_KEY_ID: keys.first.accessKeyId,
          AWS_SECRET_ACCESS_KEY: keys.first.secretAccessKey,
          AWS_DEFAULT_REGION: 'lab-1',
          AWS_EC2_METADATA_DISABLED: 'true',
        },
      },
    );
    return stdout.trim() === '' ? undefined : JSON.parse(stdout);
  };

  it('aws cli: describes regions, knows who it is, launches and walks pages', async (t) => {
    const found = await exec('aws', ['--version'], { timeoutMs: 60_000 }).catch(() => undefined);
    if (found === undefined) return t.diagnostic('there is no aws command here');
    const regions = await aws('ec2', 'describe-regions');
    assert.match(JSON.stringify(regions), /"RegionName":"lab-1"/);
    const identity = await aws('sts', 'get-caller-identity');
    assert.match(JSON.stringify(identity), new RegExp(`"Account":"${accountId}"`));
    await aws('ec2', 'run-instances', '--image-id', 'ami-0123456789abcdef0', '--count', '7');
    const described = await aws('ec2', 'describe-instances', '--page-size', '5');
    assert.equal(JSON.stringify(described).match(/"InstanceId"/g)?.length, 7);
  });

  it('AWS SDK for JavaScript: launches, pages, stops, and gets typed errors without a retry', async () => {
    const ec2 = new EC2Client(sdk());
    const sts = new STSClient(sdk());
    try {
      assert.equal((await sts.send(new GetCallerIdentityCommand({}))).Account, accountId);
      const regions = await ec2.send(new DescribeRegionsCommand({}));
      assert.equal(regions.Regions?.[0]?.RegionName, 'lab-1');
      const launch = new RunInstancesCommand({ ImageId: 'ami-0123456789abcdef0', MinCount: 2, MaxCount: 2 });
      const made = (await ec2.send(launch)).Instances?.map(({ InstanceId }) => InstanceId ?? '') ?? [];
      assert.equal(made.length, 2);
      const seen: (string | undefined)[] = [];
      for await (const page of paginateDescribeInstances({ client: ec2, pageSize: 5 }, {}))
        seen.push(...(page.Reservations ?? []).flatMap((r) => r.Instances ?? []).map((i) => i.InstanceId));
      assert.ok(made.every((id) => seen.includes(id)));
      const stopped = await ec2.send(new StopInstancesCommand({ InstanceIds: made }));
      assert.equal(stopped.StoppingInstances?.[0]?.CurrentState?.Name, 'stopping');
      const unknown = ec2.send(new TerminateInstancesCommand({ InstanceIds: ['i-001ffffffffffffff'] }));
      await assert.rejects(unknown, (error: EC2ServiceException) => {
        assert.equal(error.name, 'InvalidInstanceID.NotFound');
        assert.equal(error.$metadata.attempts, 1);
        return true;
      });
    } finally {
      ec2.destroy();
      sts.destroy();
    }
  });
});
