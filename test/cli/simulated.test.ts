/** `pando up --simulated` as its users have it: another user than root, clients of AWS, processes that are killed. */
import assert from 'node:assert/strict';
import { type ChildProcess, execFile, spawn, spawnSync } from 'node:child_process';
import { chownSync, existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { promisify } from 'node:util';
import * as sdk from '@aws-sdk/client-ec2';
import { signedHeaders } from '#cli/sign.ts';
import { memoryParent, memoryPrefix } from '#cli/simulated/end.ts';
import { readRun } from '#lab/runRecord.ts';
import { codeDirectory, runDirectory } from '#node/directory.ts';
import { livingIn } from '#node/processIdentity.ts';

const run = promisify(execFile);
const main = join(codeDirectory, 'src', 'cli', 'main.ts');
const nobody = 65_534;
const waitMsMax = 60_000;
const nodeCommand = [process.execPath, '--disable-warning=ExperimentalWarning', main];
const dropped = ['setpriv', `--reuid=${nobody}`, `--regid=${nobody}`, '--clear-groups', '--no-new-privs'];
/** As root, another user is used, where that user can read the code. */
const drops =
  process.getuid?.() === 0 && spawnSync('setpriv', [...dropped.slice(1), 'test', '-r', main]).status === 0;
const command = drops ? [...dropped, ...nodeCommand] : nodeCommand;

const home = mkdtempSync(join(tmpdir(), 'pando-sim-'));
if (drops) chownSync(home, nobody, nobody);
const directories: string[] = [];
const newDirectory = (): string => {
  const directory = join(home, `r${directories.length + 1}`);
  directories.push(directory);
  return directory;
};

const environment = (): NodeJS.ProcessEnv => {
  const { PANDO_DIR: _, AWS_PROFILE: __, ...env } = process.env;
  return { ...env, HOME: home, PANDO_CACHE: join(home, 'cache') };
};

const pando = async (...args: string[]): Promise<string> => {
  const [program = '', ...before] = command;
  const { stdout } = await run(program, [...before, ...args], { env: environment(), cwd: '/' });
  return stdout;
};

/** AWS's CLI as the runner's own user: it may be installed for that one alone. */
const aws = async (directory: string, region: string, ...args: string[]): Promise<unknown> => {
  const [program = '', ...before] = nodeCommand;
  const all = [...before, 'aws', '--dir', directory, '--', '--region', region, '--output', 'json', ...args];
  const { stdout } = await run(program, all, { cwd: '/' });
  return JSON.parse(stdout || '{}');
};

const refused = async (...args: string[]): Promise<string> => {
  const error: unknown = await pando(...args).catch((thrown: unknown) => thrown);
  assert.ok(
    typeof error === 'object' && error !== null && 'stderr' in error,
    `${args.join(' ')} was not refused`,
  );
  return String(error.stderr);
};

const until = async <T>(what: string, condition: () => Promise<T | false> | T | false): Promise<T> => {
  const end = Date.now() + waitMsMax;
  for (;;) {
    const value = await condition();
    if (value !== false) return value;
    if (Date.now() > end) throw new Error(`${what}: not within ${waitMsMax} ms`);
    await delay(20);
  }
};

const recordOf = (directory: string) => {
  const record = readRun(runDirectory(directory));
  assert.ok(record?.simulated && record.account, 'the region has been up');
  const { simulated, account, ...rest } = record;
  return { ...rest, simulated, account };
};

const pidOf = (directory: string): number | undefined =>
  livingIn(runDirectory(directory).pidFile('simulated'))?.pid;

const clientOf = (directory: string, region: string): sdk.EC2Client => {
  const { port, account } = recordOf(directory);
  return new sdk.EC2Client({
    endpoint: `http://127.0.0.1:${port}`,
    region,
    credentials: { accessKeyId: account.accessKeyId, secretAccessKey: account.secret },
  });
};

const stateOf = async (client: sdk.EC2Client, id: string): Promise<string | undefined> => {
  const found = await client.send(new sdk.DescribeInstancesCommand({ InstanceIds: [id] }));
  return found.Reservations?.[0]?.Instances?.[0]?.State?.Name;
};

const reaches = (client: sdk.EC2Client, id: string, state: string): Promise<true> =>
  until(`${id} ${state}`, async () => (await stateOf(client, id)) === state);

const launch = async (client: sdk.EC2Client, directory: string, name: string): Promise<string> => {
  const made = await client.send(
    new sdk.RunInstancesCommand({
      ImageId: recordOf(directory).simulated.imageId,
      InstanceType: 't3.micro',
      MinCount: 1,
      MaxCount: 1,
      TagSpecifications: [{ ResourceType: 'instance', Tags: [{ Key: 'Name', Value: name }] }],
    }),
  );
  const [instance] = made.Instances ?? [];
  assert.equal(instance?.State?.Name, 'pending');
  return instance?.InstanceId ?? '';
};

/** Processes whose command or working directory names the directory. */
const processesOf = (path: string): string[] =>
  readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name) && Number(name) !== process.pid)
    .filter((pid) => {
      try {
        return readFileSync(`/proc/${pid}/cmdline`, 'utf8').includes(path);
      } catch {
        return false;
      }
    });

/** States in memory of the user that this test's regions have. */
const statesInMemory = (): string[] =>
  readdirSync(memoryParent)
    .filter((name) => name.startsWith(memoryPrefix))
    .map((name) => join(memoryParent, name))
    .filter(
      (path) => statSync(path, { throwIfNoEntry: false })?.uid === (drops ? nobody : process.getuid?.()),
    );

const assertNothingLeft = (directory: string, state: string): void => {
  assert.ok(!existsSync(directory), 'its directory is gone');
  assert.ok(!existsSync(state), 'its state is gone');
  assert.deepEqual([...processesOf(directory), ...processesOf(state)], []);
};

after(async () => {
  for (const directory of directories)
    if (existsSync(directory)) await pando('down', '--purge', '--dir', directory).catch(() => undefined);
  rmSync(home, { recursive: true, force: true });
});

describe('a simulated region under any name, whose VMs change at once', () => {
  const directory = newDirectory();

  before(() => pando('up', '--simulated', '--dir', directory, '--any-region', '--instant'));

  test('it runs with the rights of whoever started it', () => {
    const pid = pidOf(directory);
    assert.ok(pid !== undefined);
    assert.equal(statSync(`/proc/${pid}`).uid, drops ? nobody : process.getuid?.());
  });

  test('AWS’s SDK: launch, tags, filters, stop, start, terminate', async () => {
    const client = clientOf(directory, 'eu-central-1');
    const [id, other] = [await launch(client, directory, 'one'), await launch(client, directory, 'other')];
    await reaches(client, id, 'running');
    const found = await client.send(
      new sdk.DescribeInstancesCommand({
        Filters: [
          { Name: 'tag:Name', Values: ['one'] },
          { Name: 'instance-state-name', Values: ['running'] },
        ],
      }),
    );
    const instances = found.Reservations?.flatMap((each) => each.Instances ?? []) ?? [];
    assert.deepEqual(
      instances.map((each) => each.InstanceId),
      [id],
    );
    await client.send(
      new sdk.CreateTagsCommand({ Resources: [id], Tags: [{ Key: 'where', Value: 'eu-central-1a' }] }),
    );
    const tagged = await client.send(
      new sdk.DescribeTagsCommand({ Filters: [{ Name: 'tag:where', Values: ['eu-central-1a'] }] }),
    );
    assert.deepEqual(
      tagged.Tags?.map((tag) => tag.ResourceId),
      [id],
      'a tag is the client’s own word',
    );
    await client.send(new sdk.StopInstancesCommand({ InstanceIds: [id] }));
    await reaches(client, id, 'stopped');
    await client.send(new sdk.StartInstancesCommand({ InstanceIds: [id] }));
    await reaches(client, id, 'running');
    await client.send(new sdk.TerminateInstancesCommand({ InstanceIds: [id, other] }));
    await reaches(client, id, 'terminated');
    await reaches(client, other, 'terminated');
    client.destroy();
  });

  test('AWS’s CLI: in the region that it signs for, its zones, and the way to terminate', async () => {
    const region = 'ap-southeast-2';
    const zones = await aws(
      directory,
      region,
      'ec2',
      'describe-availability-zones',
      '--query',
      'AvailabilityZones[].ZoneName',
    );
    assert.deepEqual(zones, [`${region}a`, `${region}b`, `${region}c`]);
    const regions = await aws(
      directory,
      region,
      'ec2',
      'describe-regions',
      '--query',
      'Regions[].RegionName',
    );
    assert.deepEqual(regions, [region]);
    const { imageId = '' } = recordOf(directory).simulated;
    const placed = ['--placement', `AvailabilityZone=${region}c`, '--query', 'Instances[0]'];
    const made = await aws(
      directory,
      region,
      'ec2',
      'run-instances',
      '--image-id',
      imageId,
      '--instance-type',
      't3.nano',
      ...placed,
    );
    const { InstanceId: id, Placement } = made as sdk.Instance;
    assert.equal(Placement?.AvailabilityZone, `${region}c`);
    assert.ok(id !== undefined);
    await aws(directory, region, 'ec2', 'wait', 'instance-running', '--instance-ids', id);
    const elsewhere = await aws(
      directory,
      'us-west-2',
      'ec2',
      'describe-instances',
      '--instance-ids',
      id,
      '--query',
      'Reservations[0].Instances[0].Placement.AvailabilityZone',
    );
    assert.equal(elsewhere, 'us-west-2c', 'one region under every name');
    await aws(directory, region, 'ec2', 'terminate-instances', '--instance-ids', id);
    await aws(directory, region, 'ec2', 'wait', 'instance-terminated', '--instance-ids', id);
  });

  test('status, workflows and logs show it; what it has not is told', async () => {
    const status = JSON.parse(await pando('status', '--json', '--dir', directory)) as {
      state: string;
      pid: number;
    };
    assert.equal(status.state, 'up');
    assert.equal(status.pid, pidOf(directory));
    assert.match(await pando('workflow', 'list', '--all', '--dir', directory), /launch/);
    assert.match(await pando('logs', '--dir', directory, '-n', '2000'), /RunInstances/);
    assert.match(await refused('ssh', '--dir', directory, 'i-0010123456789abcd'), /simulated: no guest runs/);
    assert.match(await refused('restart', '--dir', directory, 'router'), /simulated/);
    assert.match(
      await refused('up', '--simulated', '--dir', directory, '--region', 'x-1'),
      /started with --region us-east-1/,
    );
    assert.match(await refused('up', '--dir', directory, '--instant'), /--simulated alone/);
  });

  test('a dry run of a rollout shows what would change in the kernel of each card (S8.2)', async () => {
    const client = clientOf(directory, 'eu-central-1');
    const id = await launch(client, directory, 'shown');
    await reaches(client, id, 'running');
    const start = ['rollout', 'start', '--set', 'mtu=1300', '--dry-run', '--dir', directory];
    const shown = await pando(...start);
    assert.match(shown, /would be done .*policy default-fleet/);
    assert.match(shown, /card\/\S+.*, in vpc-\S+:/);
    assert.match(shown, /\n +\+ ip link vx0 mtu 1300\n/);
    assert.match(shown, /\n +- ip link tap\S+ mtu \d+\n/);
    const { kernel } = JSON.parse(await pando(...start, '--json')) as { kernel: { differences: unknown[] } };
    assert.ok(kernel.differences.length > 0);
    assert.match(
      await refused('rollout', 'diff', 'ro-none', '--dir', directory),
      /There is no rollout ro-none/,
    );
    const { Reservations } = await client.send(new sdk.DescribeInstancesCommand({ InstanceIds: [id] }));
    const { VpcId = '', SecurityGroups } = Reservations?.[0]?.Instances?.[0] ?? {};
    const GroupId = SecurityGroups?.[0]?.GroupId ?? '';
    const IpPermissions = [
      { IpProtocol: 'tcp', FromPort: 22, ToPort: 22, IpRanges: [{ CidrIp: '192.0.2.0/24' }] },
    ];
    await client.send(new sdk.AuthorizeSecurityGroupIngressCommand({ GroupId, IpPermissions }));
    const of = ['--dir', directory];
    const audit = await pando('rollout', 'audit', '--vpc', VpcId, ...of);
    assert.match(
      audit,
      /AuthorizeSecurityGroupIngress {2}version \d+ .*\n +by arn:\S+, key \w+, request \S+\n/,
    );
    assert.match(audit, new RegExp(`security-group/${GroupId}  [0-9a-f]{8} → [0-9a-f]{8}`));
    const object = `security-group/${GroupId}`;
    const { versions } = JSON.parse(await pando('rollout', 'versions', object, '--json', ...of)) as {
      versions: { version: number }[];
    };
    const former = ['--version', String(versions[1]?.version)];
    const would = await pando('rollout', 'restore', object, ...former, '--dry-run', ...of);
    assert.match(would, /would change:\n +- ingress/);
    assert.match(await pando('rollout', 'restore', object, ...former, ...of), /is as in version/);
    assert.match(
      await pando('rollout', 'audit', '--vpc', VpcId, '-n', '1', ...of),
      /by operator\/cli[\s\S]*There are more/,
    );
    assert.match(await refused('rollout', 'audit', ...of), /Say a rollout/);
    assert.match(await refused('rollout', 'versions', 'sg-1', ...of), /sg-1 is no object/);
    assert.match(await refused('rollout', 'restore', object, ...former, ...of), /is so now/);
    await client.send(new sdk.TerminateInstancesCommand({ InstanceIds: [id] }));
    await reaches(client, id, 'terminated');
    client.destroy();
  });

  test('an operator’s key is made, signs requests to /rollout/v1/, and is deleted', async () => {
    const made = JSON.parse(
      await pando('operator', 'key', 'create', 'alice', '--json', '--dir', directory),
    ) as {
      accessKeyId: string;
      secretAccessKey: string;
    };
    const list = await pando('operator', 'key', 'list', '--dir', directory);
    assert.match(list, new RegExp(`${made.accessKeyId} +alice`));
    assert.ok(!list.includes(made.secretAccessKey), 'its secret is told once');
    const { port, regionName } = recordOf(directory);
    const host = `127.0.0.1:${port}`;
    const path = '/rollout/v1/policies';
    const ask = async (): Promise<Response> => {
      const credentials = { accessKeyId: made.accessKeyId, secret: made.secretAccessKey };
      const target = { host, region: regionName, service: 'ec2' };
      const what = { method: 'GET', path, query: '', contentType: 'application/json' };
      return fetch(`http://${host}${path}`, {
        headers: signedHeaders(credentials, target, '', new Date(), what),
      });
    };
    const answer = await ask();
    assert.equal(answer.status, 200);
    assert.match(await answer.text(), /default-fleet/);
    await pando('operator', 'key', 'delete', made.accessKeyId, '--dir', directory);
    assert.equal((await ask()).status, 401);
    assert.match(
      await refused('operator', 'key', 'create', '../x', '--dir', directory),
      /An operator's name is/,
    );
    assert.match(
      await refused('operator', 'key', 'delete', 'AKIANONE', '--dir', directory),
      /There is no key AKIANONE/,
    );
  });

  test('down leaves nothing', async () => {
    const { state } = recordOf(directory).simulated;
    await pando('down', '--dir', directory);
    assertNothingLeft(directory, state);
  });
});

test('two that start at once: one region; another directory: a region of its own, on a port of its own', async () => {
  const [one, other] = [newDirectory(), newDirectory()];
  const before = new Set(statesInMemory());
  const small = ['--cells', '1', '--hosts-per-cell', '1'];
  const [first, again] = await Promise.all([
    pando('up', '--simulated', '--dir', one, ...small),
    pando('up', '--simulated', '--dir', one, ...small),
    pando('up', '--simulated', '--dir', other, ...small),
  ]);
  assert.equal([first, again].filter((text) => text.includes('was up already')).length, 1);
  // All looked for a free port at once. Two that shared one would answer each other's clients in turn.
  assert.notEqual(recordOf(one).port, recordOf(other).port);
  for (const directory of [one, other, one, other])
    assert.match(await pando('request', 'list', '--dir', directory), /No request waits/);
  const port = String(recordOf(one).port);
  assert.match(await refused('up', '--simulated', '--dir', newDirectory(), '--port', port), /is taken/);
  const states = [one, other].map((directory) => recordOf(directory).simulated.state);
  await Promise.all([one, other].map((directory) => pando('down', '--dir', directory)));
  assertNothingLeft(one, states[0] ?? '');
  assertNothingLeft(other, states[1] ?? '');
  // Each start that lost its port had made one. Those of other tests that run beside this one have processes.
  await until('only states in use are left', () =>
    statesInMemory().every((state) => before.has(state) || processesOf(state).length > 0),
  );
});

test('a state in the directory: killed with all that runs, it goes on where it was', async () => {
  const directory = newDirectory();
  const up = () => pando('up', '--simulated', '--persist', '--instant', '--cells', '1', '--dir', directory);
  await up();
  const client = clientOf(directory, 'us-east-1');
  const [running, stopped] = [await launch(client, directory, 'r'), await launch(client, directory, 's')];
  await reaches(client, running, 'running');
  await reaches(client, stopped, 'running');
  await client.send(new sdk.StopInstancesCommand({ InstanceIds: [stopped] }));
  await reaches(client, stopped, 'stopped');

  const { account, simulated } = recordOf(directory);
  const pid = pidOf(directory);
  assert.ok(pid !== undefined);
  const underWay = await launch(client, directory, 'under way');
  process.kill(pid, 'SIGKILL');
  const server = Number(readFileSync(join(simulated.state, 'pg', 'postmaster.pid'), 'utf8').split('\n')[0]);
  process.kill(server, 'SIGKILL');
  await until('its process is gone', () => pidOf(directory) === undefined);
  assert.match(await pando('status', '--dir', directory), /down/);

  await up();
  assert.deepEqual(recordOf(directory).account, account, 'the keys are those of before');
  assert.equal(await stateOf(client, running), 'running');
  assert.equal(await stateOf(client, stopped), 'stopped');
  await reaches(client, underWay, 'running');
  await client.send(new sdk.StartInstancesCommand({ InstanceIds: [stopped] }));
  await reaches(client, stopped, 'running');
  await client.send(new sdk.StopInstancesCommand({ InstanceIds: [running] }));
  await reaches(client, running, 'stopped');

  await pando('down', '--dir', directory);
  assert.deepEqual(processesOf(directory), []);
  await up();
  assert.equal(await stateOf(client, running), 'stopped');
  assert.equal(await stateOf(client, stopped), 'running');
  client.destroy();
  await pando('down', '--purge', '--dir', directory);
  assertNothingLeft(directory, simulated.state);
});

test('in front: with plausible timing, until it is interrupted', async () => {
  const directory = newDirectory();
  const [program = '', ...first] = command;
  const child: ChildProcess = spawn(
    program,
    [...first, 'up', '--simulated', '--foreground', '--cells', '1', '--dir', directory],
    { env: environment(), cwd: '/', stdio: ['ignore', 'pipe', 'inherit'] },
  );
  const exited = new Promise<number | null>((resolve) => child.once('exit', resolve));
  let output = '';
  child.stdout?.on('data', (part: Buffer) => {
    output += part.toString();
  });
  await until('it is up', () => output.includes('endpoint') && child.exitCode === null);
  await until('its record', () => readRun(runDirectory(directory))?.simulated?.ports !== undefined);
  const client = clientOf(directory, 'us-east-1');
  const id = await launch(client, directory, 'slow');
  assert.equal(await stateOf(client, id), 'pending', 'a launch takes its time');
  await reaches(client, id, 'running');
  client.destroy();
  const { state } = recordOf(directory).simulated;
  child.kill('SIGINT');
  assert.equal(await exited, 0);
  assertNothingLeft(directory, state);
});
