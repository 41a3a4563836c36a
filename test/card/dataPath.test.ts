import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { exec } from '#base/exec.ts';
import { attach, eventually, Lab, type LabCard, type LabVm, portOf, vpcOf } from './lab.ts';

const ping = (ip: string): string => `ping -c 1 -W 2 ${ip} >/dev/null`;

describe('data path between two cards', () => {
  let lab: Lab;
  let one: LabCard;
  let two: LabCard;
  let a: LabVm;
  let b: LabVm;
  let c: LabVm;

  before(async () => {
    lab = await Lab.create();
    [one, two] = await Promise.all([lab.card('c1'), lab.card('c2')]);
    a = await lab.vm('a', one, portOf(10, one.vtep));
    b = await lab.vm('b', two, portOf(11, two.vtep));
    c = await lab.vm('c', one, portOf(12, one.vtep));
    const state = vpcOf('vpc-1', 101, 1, [a.port, b.port, c.port]);
    for (const card of [one, two]) await card.client.call('card.applyVpc', { state });
    await attach(one, 'vpc-1', a);
    await attach(two, 'vpc-1', b);
    await attach(one, 'vpc-1', c);
  });
  after(() => lab[Symbol.asyncDispose]());

  it('reaches VMs of the same card and of the other, and the router', async () => {
    for (const ip of ['10.0.0.12', '10.0.0.11', '10.0.0.1'])
      assert.deepEqual(await a.run(ping(ip)), { ok: true, out: '' }, ip);
    assert.ok((await b.run(ping('10.0.0.12'))).ok);
  });
});
void [exec, eventually];
