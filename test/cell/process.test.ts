/** Two real processors as processes over one PostgreSQL, hosts that dial both over mutual TLS, and `kill -9` in the middle of launches. */
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import type { Reservation } from '@aws-sdk/client-ec2';
import { until } from './support/harness.ts';
import { CellProcesses } from './support/processes.ts';

let cell: CellProcesses;
before(async () => {
  cell = await CellProcesses.start(['one', 'two'], 3);
});
after(() => cell.stop());

test('launches are finished by the other processor, exactly once, when one is killed in their middle', async () => {
  const { region, hosts, world } = cell;
  for (const [round, victim] of ['one', 'two'].entries()) {
    const other = victim === 'one' ? 'two' : 'one';
    const tokens = Array.from({ length: 12 }, (_, at) => `round-${round}-${at}`);
    const input = (token: string) => ({
      ImageId: region.imageId,
      InstanceType: 'p1.nano',
      MinCount: 1,
      MaxCount: 1,
      ClientToken: token,
    });
    const asked = tokens.map((token) =>
      cell.call(victim, 'RunInstances', input(token)).catch(() => undefined),
    );
    await until('some launch is under way', () => hosts.some((host) => host.vms.size > 0));
    const child = cell.children.get(victim);
    child?.kill('SIGKILL');
    await Promise.all(asked);
    // Whoever got no answer asks again with the same token.
    const ids: string[] = [];
    for (const token of tokens) {
      const output = (await cell.call(other, 'RunInstances', input(token))) as Reservation;
      ids.push(output.Instances?.[0]?.InstanceId ?? '');
    }
    assert.equal(new Set(ids).size, tokens.length);
    await until(
      'all run',
      async () => {
        const output = await cell.call(other, 'DescribeInstances', { InstanceIds: ids });
        const states = (output.Reservations as Reservation[]).flatMap((each) =>
          each.Instances?.map((one) => one.State?.Name),
        );
        return states.length === ids.length && states.every((state) => state === 'running');
      },
      30_000,
    );
    assert.deepEqual(world.violations, []);
    for (const id of ids) assert.equal(world.runningOn(id).length, 1);
    assert.equal(
      hosts.reduce((sum, host) => sum + host.vms.size, 0),
      tokens.length,
      'no VM beyond those asked for',
    );
    await cell.call(other, 'TerminateInstances', { InstanceIds: ids });
    await until(
      'all gone',
      () => hosts.every((host) => host.vms.size === 0) && region.interfaces.size === 0,
      30_000,
    );
    await cell.startProcessor(victim);
    await cell.ready(victim);
  }
});
