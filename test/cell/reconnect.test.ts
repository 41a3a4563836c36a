/** A host that connects again while launches go on: what a comparison read before is not acted upon after (check and act). */
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import type { HostCaller } from '#cell/hosts/sessions.ts';
import { SimCaller } from '#simhost/caller.ts';
import type { SimHost } from '#simhost/sim-host.ts';
import { TestCell, type TestProcessor, until } from './support/harness.ts';
import { launch, reaches } from './support/instances.ts';

let setup: TestCell;
let processor: TestProcessor;
let host: SimHost;

before(async () => {
  setup = await TestCell.start();
  host = setup.addHost();
  processor = await setup.addProcessor();
});
after(() => setup.stop());

/** A session on which `between` runs after the host has told what its card has, and before the cell hears of it. */
const sessionWith = (between: () => Promise<unknown>): HostCaller => {
  const inner = new SimCaller(host, { checked: true });
  let done = false;
  return {
    call: async (method, params, options) => {
      const answer = await inner.call(method, params, options);
      if (method === 'card.status' && !done) {
        done = true;
        await between();
      }
      return answer;
    },
  };
};

test('a launch between the comparison with the card and its clean-up keeps its VPC', async () => {
  await until('the first connection was compared', () => host.calls.get('card.status') === 1);
  // The card has the VPC of an instance that has gone: the comparison finds it not needed.
  host.card.applyVpc(setup.region.state());
  let id = '';
  let compared = false;
  const session = sessionWith(async () => {
    id = await launch(processor.cell, setup.region);
    await reaches(processor.cell, id, 'running');
    compared = true;
  });
  await processor.cell.reports.hello(host.hello(), session);
  await until('the card was compared', () => compared);
  await until('the comparison is over', () => host.calls.get('card.status') === 2);
  assert.equal(
    host.calls.get('card.removeVpc'),
    undefined,
    'the rows that were read after the list explain it',
  );
  assert.equal(host.card.vpcs.size, 1);
  assert.equal(host.card.ports.size, 1);
});

test('a VPC that no instance needs is removed from a card that connects', async () => {
  const vpc = { ...setup.region.state(), vpcId: 'vpc-00000000000000009' };
  host.card.applyVpc(vpc);
  await processor.cell.reports.hello(host.hello(), new SimCaller(host, { checked: true }));
  await until('removed', () => !host.card.vpcs.has(vpc.vpcId));
  assert.equal(host.card.vpcs.size, 1, 'the one with a port stays');
});
