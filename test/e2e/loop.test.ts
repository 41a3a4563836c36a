/**
 * The whole loop (S5, S10) on real hosts: a launch finds no slot → a request waits → its pool takes a host from another one → the host's
 * VMs move away live → it is rebuilt in the fewest steps, and shows itself fit by a VM → its slot is offered, and the client told by a
 * webhook → the client launches with the offer.
 */
import assert from 'node:assert/strict';
import { after, before, describe, it, type TestContext } from 'node:test';
import { EC2Client, RunInstancesCommand, type RunInstancesCommandInput } from '@aws-sdk/client-ec2';
import { z } from 'zod';
import { callCapacity } from '#cli/capacityClient.ts';
import { type CellCaller, withCell } from '#cli/operator.ts';
import { eventView, type RequestView, requestView } from '#contracts/capacity.ts';
import type { PlannedHost } from '#lab/plan.ts';
import type { Network } from './support/cloud.ts';
import { Guest } from './support/guest.ts';
import { Receiver, verify } from './support/receiver.ts';
import { startRegion, type TestRegion } from './support/region.ts';
import { Ping } from './support/traffic.ts';
import { until } from './support/until.ts';
import { vmmOf, vmmsOf } from './support/vmm.ts';

/** MiB. Two small VMs leave no room for a big one; without one host the others have room for all of the small ones. */
const hostMemoryMib = 640;
const small = 'custom.1000m.128';
const big = 'custom.1000m.448';
const smallVms = 8;
const loopMsMax = 10 * 60_000;

describe('the loop from a refused launch to a launch', { timeout: 25 * 60_000 }, () => {
  let region: TestRegion;
  let network: Network;
  let receiver: Receiver;
  let ids: string[] = [];
  const pings: Ping[] = [];

  before(async () => {
    region = await startRegion({
      ...{ cells: 1, hostsPerCell: 4 },
      // Of lab regions: public addresses of this machine's own.
      record: { hostCapacity: { memoryMib: hostMemoryMib }, webhookRanges: ['198.19.0.0/16'] },
    });
    receiver = await Receiver.listen(region.plan.uplink);
    const hosts = region.plan.hosts.map(({ name }) => name).join(',');
    await region.pando(
      ...['pool', 'set', 'small', '--type', small, '--low', '1', '--target', '3'],
      ...['--only', small, '--hosts', hosts],
    );
    await region.pando('pool', 'set', 'big', '--type', big, '--low', '0', '--target', '0', '--only', big);
    network = await region.cloud.network('10.94.0.0/16', '-1');
    ids = await region.cloud.launch({ network, type: small, count: smallVms });
    const vms = await region.cloud.reach('running', ids);
    for (const { publicIp } of vms) await new Guest(publicIp, region.cloud.keyFile).answers();
    pings.push(...vms.map(({ publicIp }) => new Ping(publicIp, 50)));
    await until('all to be pinged', () => pings.every((ping) => ping.answers > 20));
  });

  after(async () => {
    for (const ping of pings) await ping[Symbol.asyncDispose]();
    await receiver?.[Symbol.asyncDispose]();
    await region?.[Symbol.asyncDispose]();
  });

  const inCell = <T>(work: (cell: CellCaller) => Promise<T>): Promise<T> => withCell(region, 1, work);

  /** Launches a big VM as a client of AWS's own SDK does, with headers of ours. */
  const runBig = async (headers: Readonly<Record<string, string>> = {}): Promise<string> => {
    const { accessKeyId, secret: secretAccessKey } = region.credentials;
    const client = new EC2Client({
      ...{ endpoint: region.endpoint, region: region.run.regionName, maxAttempts: 1 },
      credentials: { accessKeyId, secretAccessKey },
    });
    const input: RunInstancesCommandInput = {
      ...{ ImageId: await region.cloud.image(), MinCount: 1, MaxCount: 1, SubnetId: network.subnetId },
      SecurityGroupIds: [network.groupId],
    };
    const command = new RunInstancesCommand({ ...input, InstanceType: big as never });
    command.middlewareStack.add(
      (next) => (args) => {
        Object.assign((args.request as { headers: object }).headers, headers);
        return next(args);
      },
      { step: 'build' },
    );
    const { Instances: [instance] = [] } = await client.send(command);
    client.destroy();
    return instance?.InstanceId ?? '';
  };

  const createRequest = async (): Promise<RequestView> =>
    requestView.parse(
      await callCapacity(region, {
        ...{ method: 'POST', path: 'requests' },
        body: { instanceType: big, diskGib: 1, callback: { url: receiver.url } },
      }),
    );

  /** The same without the other API: the launch itself asks to wait. */
  const assertWaitsByHeader = async (): Promise<void> => {
    const refused = await runBig({ 'x-pando-pending': '600' }).catch((error: unknown) => error);
    assert.ok(refused instanceof Error && refused.name === 'InsufficientInstanceCapacity');
    const [id = ''] = /pr-[0-9a-f]+/.exec(refused.message) ?? [];
    await region.pando('request', 'cancel', id);
  };

  /** Who polls reads the same events. */
  const polled = async (): Promise<string[]> => {
    const page = await callCapacity(region, { method: 'GET', path: 'events', query: { cursor: '0' } });
    return z
      .object({ events: z.array(eventView) })
      .parse(page)
      .events.map(({ eventId }) => eventId);
  };

  const where = (): Map<string, string> => new Map(ids.map((id) => [id, vmmOf(id).host]));

  /** The host that is taken, and the workflow that has it. */
  const donorOf = async (): Promise<{ readonly host: PlannedHost; readonly workflowId: string }> =>
    until('a donor to be chosen', async () => {
      const { hosts } = await inCell((cell) => cell.call('operator.hosts', {}));
      const found = hosts.find(({ phase }) => phase === 'rebuilding');
      const host = region.plan.hosts.find(({ hostId }) => hostId === found?.hostId);
      const workflowId = found?.workflowId;
      return host !== undefined && workflowId !== undefined && { host, workflowId };
    });

  /** The rebuild as it is on record: when it ended, what each step took, and which were left out for what reason. */
  const rebuildOf = async (workflowId: string) => {
    const { state, steps, updatedAt } = await inCell((cell) =>
      cell.call('operator.workflow', { workflowId }),
    );
    const skipped = steps.flatMap(({ name, result }) => {
      const { skipped: left, why } = Object(result) as { skipped?: boolean; why?: string };
      return left === true ? [{ name, why: why ?? '' }] : [];
    });
    const took = steps.map(({ name, ms = 0 }) => `${name} ${(ms / 1000).toFixed(1)}`);
    return { state, endedAt: Date.parse(updatedAt), skipped, took: took.join(', ') };
  };

  const assertUnhurt = async (t: TestContext): Promise<void> => {
    const answered = pings.map((ping) => ping.answers);
    await until('pings to go on', () => pings.every((ping, at) => ping.answers > (answered[at] ?? 0) + 20));
    for (const [at, ping] of pings.entries()) {
      const { sent, lost, longestGapMs } = await ping.stop();
      t.diagnostic(
        `${ids[at]}: ${sent} pings, ${lost.length} lost, longest gap ${longestGapMs.toFixed(0)} ms`,
      );
      assert.deepEqual(lost, [], `pings of ${ids[at]}`);
      assert.equal(vmmsOf(ids[at] ?? '').length, 1, 'one copy');
    }
  };

  it('closes by itself', async (t) => {
    const begun = Date.now();
    const at = (what: string, now = Date.now()): void =>
      t.diagnostic(`${((now - begun) / 1000).toFixed(1).padStart(6)} s  ${what}`);
    const placed = where();
    assert.equal(new Set(placed.values()).size, region.plan.hosts.length, 'every host has small VMs');
    await assert.rejects(runBig(), { name: 'InsufficientInstanceCapacity' });
    at('a big launch is refused');
    const { requestId, state, signingSecret = '' } = await createRequest();
    assert.equal(state, 'waiting');
    at(`${requestId} waits`);
    await assertWaitsByHeader();

    const donor = await donorOf();
    const moved = ids.filter((id) => placed.get(id) === donor.host.hostNetns);
    at(`${donor.host.name} is taken from its pool, with ${moved.length} VMs`);
    await until('its VMs to be elsewhere', () =>
      moved.every((id) => vmmOf(id).host !== donor.host.hostNetns),
    );
    at('they run elsewhere');

    const offered = await until(
      'the webhook',
      () => receiver.verified(signingSecret).find(({ event }) => event.kind === 'capacity.offered'),
      loopMsMax,
    );
    const rebuild = await rebuildOf(donor.workflowId);
    assert.equal(rebuild.state, 'done', 'one pass was enough');
    t.diagnostic(`steps, in s: ${rebuild.took}`);
    for (const { name, why } of rebuild.skipped) t.diagnostic(`left out: ${name}, ${why}`);
    assert.ok(rebuild.skipped.length > 0 && rebuild.skipped.every(({ why }) => why !== ''));
    at(`${donor.host.name} serves the other pool`, rebuild.endedAt);
    at('the client is told', offered.at);
    t.diagnostic(`freed -> told: ${offered.at - rebuild.endedAt} ms, by a webhook`);
    const [first] = receiver.received;
    assert.ok(first);
    assert.throws(() => verify(signingSecret, { ...first, body: first.body.replace(big, small) }));

    await assert.rejects(runBig(), { name: 'InsufficientInstanceCapacity' }, 'I9: it is held');
    const { header = '', value = '' } = offered.event.offer?.claim ?? {};
    const instanceId = await runBig({ [header]: value });
    at('the hold is claimed');
    const [vm] = await region.cloud.reach('running', [instanceId]);
    await new Guest(vm?.publicIp ?? '', region.cloud.keyFile).answers();
    at(`${instanceId} answers`);
    assert.equal(vmmOf(instanceId).host, donor.host.hostNetns);
    await until('the client to be told of its claim', () =>
      receiver.verified(signingSecret).some(({ event }) => event.kind === 'capacity.claimed'),
    );
    const events = await polled();
    for (const { event } of receiver.verified(signingSecret)) assert.ok(events.includes(event.eventId));
    await assertUnhurt(t);
    const { drifts, misfits } = await inCell((cell) => cell.call('operator.checkClaims', {}));
    assert.deepEqual({ drifts, misfits }, { drifts: [], misfits: [] });
  });
});
