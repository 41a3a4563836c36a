/** What tests of a store in trouble share: a cell behind a proxy, its VMs before and after, and what its clients may hear. */
import assert from 'node:assert/strict';
import type { OpenDatabaseOptions } from '#base/postgres/database.ts';
import { PandoError } from '#contracts/errors.ts';
import { publicError } from '#wire/encodeError.ts';
import { ec2, type TestCell, type TestProcessor, until } from './harness.ts';

/** Set for the full length of an outage, with the time-outs that a real process has. */
export const soak = process.env.PANDO_SOAK === '1';

/** Time-outs a few times shorter than a real process has. */
export const shortTimes: Partial<OpenDatabaseOptions> = soak
  ? {}
  : {
      queryTimeoutMs: 1_000,
      connectTimeoutMs: 1_000,
      checkTimeoutMs: 500,
      acquireTimeoutMs: 2_000,
      acquireTimeoutDownMs: 500,
      reconnectMsMax: 500,
    };
export const lease = { leaseTtlMs: 1_500, leaseRenewEveryMs: 300 };
export const backWithinMs = 30_000;

export const launchInput = (cell: TestCell, token: string) => ({
  ImageId: cell.region.imageId,
  InstanceType: 'p1.nano',
  MinCount: 1,
  MaxCount: 1,
  ClientToken: token,
});

/** Launches with a token; returns the instance's id. */
export const launch = async (cell: TestCell, processor: TestProcessor, token: string): Promise<string> => {
  const { Instances } = await ec2(processor.cell, 'RunInstances', launchInput(cell, token));
  return (Instances as { InstanceId: string }[])[0]?.InstanceId ?? '';
};

/** Asks with the same token until it is answered, as clients' libraries do, and checks every refusal on the way. */
export const launchPatiently = async (
  cell: TestCell,
  processors: readonly TestProcessor[],
  token: string,
  refused: PandoError[] = [],
): Promise<string> => {
  for (let turn = 0; ; turn++) {
    const processor = processors[turn % processors.length];
    assert.ok(processor !== undefined);
    try {
      return await launch(cell, processor, token);
    } catch (error) {
      refused.push(assertUnavailable(error));
      await new Promise((wake) => setTimeout(wake, 100));
    }
  }
};

/** A client may hear that the service is unavailable, and nothing else. */
export const assertUnavailable = (error: unknown): PandoError => {
  const shown = publicError(PandoError.from(error));
  assert.equal(
    shown.code,
    'Unavailable',
    error instanceof Error ? (error.stack ?? error.message) : String(error),
  );
  assert.equal(shown.status, 503);
  return shown;
};

export const untilRunning = (
  cell: TestCell,
  processor: TestProcessor,
  ids: readonly string[],
  ms = backWithinMs,
) =>
  until(
    `${ids.length} instances run`,
    async () => {
      const states = await processor.cell.services.db
        .query<{ n: number }>(
          `select count(*)::int as n from instances where id = any($1) and state = 'running'`,
          [ids],
        )
        .catch(() => []);
      return states[0]?.n === ids.length && ids.every((id) => cell.world.runningOn(id).length === 1);
    },
    ms,
  );

/** Every VM of every host, and how many commands to destroy one were carried out. */
const inventory = (cell: TestCell) => ({
  vms: cell.hosts.map((host) => [...host.vms.keys()].sort()),
  destroyed: cell.hosts.reduce((sum, host) => sum + (host.calls.get('vm.destroy') ?? 0), 0),
});

/** Runs `work`; afterwards each VM that was there before is there still, and nothing was told to go. */
export const untouched = async (cell: TestCell, work: () => Promise<void>): Promise<void> => {
  const before = inventory(cell);
  await work();
  const after = inventory(cell);
  for (const [at, vms] of before.vms.entries())
    for (const id of vms) assert.ok(after.vms[at]?.includes(id), `${id} is gone`);
  assert.equal(after.destroyed, before.destroyed, 'no VM was destroyed');
  assert.deepEqual(cell.world.violations, []);
};
