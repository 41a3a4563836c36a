/**
 * Every resource through AWS's own serializers and deserializers: random inputs that are right must be shown as they were given, and
 * answers must read, on the other side of AWS's deserializers, as the handlers gave them.
 */
import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { inspect } from 'node:util';
import fc from 'fast-check';
import { furnish } from '../belongings.ts';
import { startRealCloud } from '../realCloud.ts';
import { groupModels } from './groups.ts';
import { instanceModels } from './instances.ts';
import type { World } from './model.ts';
import { nearlyRight } from './nearlyRight.ts';
import { networkModels } from './network.ts';
import { otherModels } from './others.ts';

export interface Effort {
  /** For each resource: no further run begins after this time, or after so many runs. */
  readonly timeMs: number;
  readonly runs: number;
  /** Random requests of each action. */
  readonly requests: number;
}

export const differential = (effort: Effort): void => {
  describe('what is asked of EC2', () => {
    let world: World;
    before(async () => {
      const cloud = await startRealCloud();
      const client = await cloud.account();
      world = { cloud, client, own: await furnish(cloud, client) };
    });
    after(() => world.cloud.close());

    for (const { name, property } of [...networkModels, ...groupModels, ...instanceModels, ...otherModels])
      it(`is shown: ${name}`, async () => {
        // One at least, however busy the machine is.
        await fc.assert(property(world), { numRuns: 1 });
        const result = await fc.check(property(world), {
          numRuns: effort.runs,
          interruptAfterTimeLimit: effort.timeMs,
          markInterruptAsFailure: false,
        });
        if (result.counterexample === null) return;
        assert.fail(`${fc.defaultReportMessage(result)}\n${inspect(result.errorInstance)}`);
      });

    it('is answered as the handler said, right or nearly right', () =>
      nearlyRight(world.cloud, effort.requests));
  });
};
