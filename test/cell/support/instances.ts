/** Launches instances in a test's cell and waits for what becomes of them. */
import assert from 'node:assert/strict';
import type { Instance, Reservation } from '@aws-sdk/client-ec2';
import type { Cell } from '#cell/cell.ts';
import type { FakeRegion } from './fake-region.ts';
import { ec2, until } from './harness.ts';

/** Asks for one instance; answers its id. */
export const launch = async (cell: Cell, region: FakeRegion, more: object = {}): Promise<string> => {
  const input = { ImageId: region.imageId, InstanceType: 'p1.nano', MinCount: 1, MaxCount: 1, ...more };
  const { Instances } = (await ec2(cell, 'RunInstances', input)) as Reservation;
  const id = Instances?.[0]?.InstanceId;
  assert.ok(id);
  return id;
};

export const describe = async (cell: Cell, id: string): Promise<Instance> => {
  const output = await ec2(cell, 'DescribeInstances', { InstanceIds: [id] });
  const instance = (output.Reservations as Reservation[])[0]?.Instances?.[0];
  assert.ok(instance);
  return instance;
};

export const reaches = (cell: Cell, id: string, state: string, timeoutMs?: number): Promise<Instance> =>
  until(
    `${id} ${state}`,
    async () => {
      const instance = await describe(cell, id);
      return instance.State?.Name === state && instance;
    },
    timeoutMs,
  );
