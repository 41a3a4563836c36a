/** The life of a VM through three real clients: the AWS CLI, boto3 and the JavaScript SDK. */
import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import {
  AllocateAddressCommand,
  AssociateAddressCommand,
  DescribeInstancesCommand,
  EC2Client,
  GetConsoleOutputCommand,
  ReleaseAddressCommand,
  RunInstancesCommand,
  StartInstancesCommand,
  StopInstancesCommand,
  TerminateInstancesCommand,
  waitUntilInstanceRunning,
  waitUntilInstanceStopped,
  waitUntilInstanceTerminated,
} from '@aws-sdk/client-ec2';
import { exec } from '#base/exec.ts';
import { ensureKeyPair, ensureSecurityGroup, keyName, waitPage } from '#cli/firstVm.ts';
import { findCommand } from '#cli/provision/machine.ts';
import { codeDirectory } from '#node/directory.ts';
import { type TestRegion, withRegion } from '../support/region.ts';
import { until } from './support/until.ts';

const clientTimeoutMs = 400_000;
const waitSeconds = 240;
/** A whole CPU: it boots twice. The AWS CLI's test takes the smallest of the names that clients know. */
const wholeCpuType = 't3.small';

let region: TestRegion;
let groupId: string;
let end: () => void;
let ended: Promise<void>;

before(async () => {
  const wait = new Promise<void>((resolve) => {
    end = resolve;
  });
  await new Promise<void>((up, failed) => {
    ended = withRegion({ cells: 2, hostsPerCell: 1 }, async (made) => {
      region = made;
      await ensureKeyPair(region);
      groupId = await ensureSecurityGroup(region);
      up();
      await wait;
    });
    ended.catch(failed);
  });
});

after(async () => {
  end();
  await ended;
  assert.equal(existsSync(region.directory.root), false, 'the region left its directory');
});

/** The VM's shell answers; its SSH server may come up a little after its page. */
const shell = (instanceId: string, command: string): Promise<string> =>
  until(`a shell on ${instanceId}`, async () => (await region.cli('ssh', instanceId, command)).stdout.trim());

const aws = async <T>(...args: string[]): Promise<T> => {
  const { stdout } = await region.cli('aws', ...args);
  return (stdout.trim() === '' ? {} : JSON.parse(stdout)) as T;
};

interface Instance {
  readonly InstanceId: string;
  readonly State: { readonly Name: string };
  readonly PublicIpAddress?: string;
  readonly OwnerId: string;
}
interface Launched {
  readonly Instances: readonly Instance[];
}
interface Described {
  readonly Reservations: readonly Launched[];
}

const describedBy = ({ Reservations }: Described): Instance => {
  const [found] = Reservations.flatMap(({ Instances }) => Instances);
  assert.ok(found);
  return found;
};
const automaticAddress = async (id: string): Promise<string> => {
  const { PublicIpAddress } = describedBy(await aws('ec2', 'describe-instances', '--instance-ids', id));
  assert.ok(PublicIpAddress, 'a default subnet gives an address');
  return PublicIpAddress;
};
const answersAt = (address: string): Promise<boolean> =>
  fetch(`http://${address}/`, { signal: AbortSignal.timeout(3_000) }).then(
    () => true,
    () => false,
  );

/** The environment of an AWS client inside the guest: what it reads of the metadata service, and no key of ours. */
async function guestEnvironment(id: string, role: string): Promise<NodeJS.ProcessEnv> {
  const path = 'meta-data/iam/security-credentials/';
  const ask = `. /usr/lib/pando/metadata; metadata_token; metadata ${path}`;
  assert.equal(await shell(id, ask), role);
  const read = JSON.parse(await shell(id, `${ask}${role}`)) as Record<string, string>;
  assert.equal(read.Code, 'Success');
  const { AWS_PROFILE: _, AWS_CONFIG_FILE: __, AWS_SHARED_CREDENTIALS_FILE: ___, ...env } = region.env;
  return {
    ...env,
    AWS_ACCESS_KEY_ID: read.AccessKeyId,
    AWS_SECRET_ACCESS_KEY: read.SecretAccessKey,
    AWS_SESSION_TOKEN: read.Token,
  };
}

async function mayReadAndNoMore(id: string, role: string): Promise<void> {
  const env = await guestEnvironment(id, role);
  const call = (...args: string[]) =>
    exec(findCommand('aws') ?? 'aws', ['--endpoint-url', region.endpoint, '--output', 'json', ...args], {
      ...{ env, timeoutMs: clientTimeoutMs },
    });
  const { stdout } = await call('ec2', 'describe-instances', '--instance-ids', id);
  assert.equal(describedBy(JSON.parse(stdout)).InstanceId, id);
  const { Arn } = JSON.parse((await call('sts', 'get-caller-identity')).stdout) as { Arn: string };
  assert.match(Arn, new RegExp(`assumed-role/${role}/${id}$`));
  await assert.rejects(call('ec2', 'stop-instances', '--instance-ids', id), /UnauthorizedOperation/);
}

const botoScript = `
import base64, boto3, subprocess, sys, urllib.request, time
image, key, group, endpoint, *pando = sys.argv[1:]
ec2 = boto3.session.Session(profile_name='pando').resource('ec2', endpoint_url=endpoint)
(vm,) = ec2.create_instances(ImageId=image, InstanceType='${wholeCpuType}', MinCount=1, MaxCount=1, KeyName=key, SecurityGroupIds=[group])
vm.wait_until_running()
address = ec2.VpcAddress(ec2.meta.client.allocate_address(Domain='vpc')['AllocationId'])
address.associate(InstanceId=vm.id)
def answer(look):
    until = time.time() + ${waitSeconds}
    while time.time() < until:
        try:
            found = look()
            if found:
                return found
        except (OSError, subprocess.CalledProcessError):
            pass
        time.sleep(0.3)
    raise TimeoutError(look.__name__)
def page():
    return vm.id in urllib.request.urlopen('http://%s/' % address.public_ip, timeout=5).read().decode()
def shell(command):
    return lambda: subprocess.run([*pando, 'ssh', vm.id, command], check=True, capture_output=True, text=True).stdout
answer(page)
assert answer(shell('echo $((6 * 7))')).strip() == '42'
output = vm.console_output(Latest=True)['Output']
assert vm.id in output, output
vm.stop()
vm.wait_until_stopped()
vm.start()
vm.wait_until_running()
answer(page)
assert answer(shell('hostname')).startswith('ip-')
vm.reload()
assert vm.state['Name'] == 'running' and vm.public_ip_address == address.public_ip
vm.create_tags(Tags=[{'Key': 'Name', 'Value': 'from boto3'}])
assert [each.id for each in ec2.instances.filter(Filters=[{'Name': 'tag:Name', 'Values': ['from *']}])] == [vm.id]
vm.terminate()
vm.wait_until_terminated()
address.release()
print('ok')
`;

// Side by side: the AWS CLI and boto3 look every fifteen seconds whether what they wait for is so.
describe('the life of a VM', { concurrency: 3 }, () => {
  test('AWS CLI: run, page, SSH, console, its role’s keys, stop and start with another address, terminate', async () => {
    const { Vpcs } = await aws<{ Vpcs: readonly { OwnerId: string }[] }>('ec2', 'describe-vpcs');
    await region.cli(
      'profile',
      'create',
      'reader',
      '--account',
      Vpcs[0]?.OwnerId ?? '',
      '--policy',
      'read-only',
    );
    const launched = await aws<Launched>(
      ...['ec2', 'run-instances', '--image-id', region.imageId, '--instance-type', 't3.nano'],
      ...['--key-name', keyName, '--security-group-ids', groupId],
      ...['--iam-instance-profile', 'Name=reader'],
    );
    const instance = launched.Instances[0];
    assert.ok(instance);
    assert.equal(instance.State.Name, 'pending');
    const id = instance.InstanceId;
    await aws('ec2', 'wait', 'instance-running', '--instance-ids', id);
    const first = await automaticAddress(id);

    assert.match(await waitPage(first, id), new RegExp(id));
    assert.equal(await shell(id, 'echo $((6 * 7))'), '42');
    await shell(id, 'echo kept >kept && sync');
    assert.notEqual((await region.cli('console', id)).stdout.trim(), '');
    await mayReadAndNoMore(id, 'reader');

    await aws('ec2', 'stop-instances', '--instance-ids', id);
    await aws('ec2', 'wait', 'instance-stopped', '--instance-ids', id);
    await aws('ec2', 'start-instances', '--instance-ids', id);
    await aws('ec2', 'wait', 'instance-running', '--instance-ids', id);
    const second = await automaticAddress(id);
    assert.notEqual(second, first, 'an automatic address goes back at a stop');
    await waitPage(second, id);
    assert.equal(await answersAt(first), false, 'nothing answers at the address that it had');
    assert.equal(await shell(id, 'cat kept'), 'kept', 'the disk outlives a stop');

    const status = JSON.parse((await region.cli('status', '--json')).stdout) as {
      addresses: Record<string, string>;
    };
    assert.equal(status.addresses[id], second);

    await aws('ec2', 'terminate-instances', '--instance-ids', id);
    await aws('ec2', 'wait', 'instance-terminated', '--instance-ids', id);
  });

  test('boto3: run, page, SSH, console, stop and start, tags and filters, terminate', async () => {
    const python =
      ['/usr/bin/python3', findCommand('python3') ?? 'python3'].find((each) => existsSync(each)) ?? 'python3';
    const pando = [process.execPath, join(codeDirectory, 'src', 'cli', 'main.ts')];
    const args = ['-c', botoScript, region.imageId, keyName, groupId, region.endpoint, ...pando];
    const env = { ...region.env, PANDO_DIR: region.directory.root };
    const { stdout } = await exec(python, args, { env, timeoutMs: clientTimeoutMs });
    assert.equal(stdout.trim(), 'ok');
  });

  test('JavaScript SDK: run, page, SSH, console, stop and start, describe, terminate', async (t) => {
    const { accessKeyId, secret } = region.credentials;
    const client = new EC2Client({
      endpoint: region.endpoint,
      region: region.run.regionName,
      credentials: { accessKeyId, secretAccessKey: secret },
    });
    t.after(() => client.destroy());
    const { Instances } = await client.send(
      new RunInstancesCommand({
        ImageId: region.imageId,
        InstanceType: wholeCpuType,
        MinCount: 1,
        MaxCount: 1,
        KeyName: keyName,
        SecurityGroupIds: [groupId],
      }),
    );
    const InstanceIds = [Instances?.[0]?.InstanceId ?? ''];
    const wait = { client, maxWaitTime: waitSeconds, minDelay: 1, maxDelay: 2 };
    await waitUntilInstanceRunning(wait, { InstanceIds });
    const { AllocationId, PublicIp = '' } = await client.send(new AllocateAddressCommand({ Domain: 'vpc' }));
    await client.send(new AssociateAddressCommand({ InstanceId: InstanceIds[0], AllocationId }));
    assert.match(await waitPage(PublicIp, InstanceIds[0] ?? 'none'), new RegExp(InstanceIds[0] ?? 'none'));
    assert.equal(await shell(InstanceIds[0] ?? 'none', 'echo $((6 * 7))'), '42');
    const { Output = '' } = await client.send(
      new GetConsoleOutputCommand({ InstanceId: InstanceIds[0], Latest: true }),
    );
    assert.match(Buffer.from(Output, 'base64').toString(), new RegExp(InstanceIds[0] ?? 'none'));
    await client.send(new StopInstancesCommand({ InstanceIds }));
    await waitUntilInstanceStopped(wait, { InstanceIds });
    await client.send(new StartInstancesCommand({ InstanceIds }));
    await waitUntilInstanceRunning(wait, { InstanceIds });
    await waitPage(PublicIp, InstanceIds[0] ?? 'none');
    const { Reservations } = await client.send(new DescribeInstancesCommand({ InstanceIds }));
    assert.equal(Reservations?.[0]?.Instances?.[0]?.PublicIpAddress, PublicIp);
    await client.send(new TerminateInstancesCommand({ InstanceIds }));
    await waitUntilInstanceTerminated(wait, { InstanceIds });
    await client.send(new ReleaseAddressCommand({ AllocationId }));
  });
});
