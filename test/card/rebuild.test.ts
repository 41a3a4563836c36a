/** A card while its host is rebuilt: shut off from the underlay over its own death, emptied of everything that a tenant has told it. */
import assert from 'node:assert/strict';
import { link, mkdir, readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { exec } from '#base/exec.ts';
import { PandoError } from '#contracts/errors.ts';
import { attach, eventually, Lab, type LabCard, type LabVm, metadataOf, portOf, vpcOf } from './lab.ts';

const ping = (ip: string): string => `ping -c 1 -W 1 ${ip} >/dev/null`;

describe('a card whose host is rebuilt', () => {
  let lab: Lab;
  let one: LabCard;
  let two: LabCard;
  let a: LabVm;
  let b: LabVm;

  before(async () => {
    lab = await Lab.create();
    [one, two] = [await lab.card('c1', { ownLink: true }), await lab.card('c2')];
    a = await lab.vm('a', one, portOf(10, one.vtep));
    b = await lab.vm('b', two, portOf(11, two.vtep));
    const state = vpcOf('vpc-1', 410, 1, [a.port, b.port]);
    for (const card of [one, two]) await card.client.call('card.applyVpc', { state });
    await attach(one, 'vpc-1', a);
    await attach(two, 'vpc-1', b);
  });
  after(() => lab[Symbol.asyncDispose]());

  const reaches = async (): Promise<boolean> => (await a.run(ping('10.0.0.11'))).ok;
  const underlay = async (): Promise<boolean> => {
    const { exitCode } = await exec('ping', ['-c', '1', '-W', '1', one.vtep], { allow: [1] });
    return exitCode === 0;
  };
  const isolate = async (on?: boolean): Promise<boolean> =>
    (await one.client.call('card.isolate', { on })).isolated;

  it('is shut off: nothing goes out, nothing comes in; opened again, all is as before', async () => {
    await eventually(reaches, (ok) => ok);
    assert.equal(await isolate(), false);
    for (const time of ['once', 'twice']) assert.equal(await isolate(true), true, time);
    assert.deepEqual([await reaches(), await underlay()], [false, false]);
    assert.equal(await isolate(false), false);
    await eventually(reaches, (ok) => ok);
    assert.equal(await underlay(), true);
  });

  it('stays shut off over its death, and after a boot has taken the rules', async () => {
    await isolate(true);
    await one.stop('SIGKILL');
    await exec('nsenter', [`--net=/run/netns/${one.netns}`, 'nft', 'flush', 'ruleset']);
    await one.start();
    assert.equal(await isolate(), true);
    assert.equal(await underlay(), false);
    await isolate(false);
  });

  it('loops back what it is sent, and tells how its underlay is', async () => {
    const data = 'x'.repeat(64 * 1024);
    const { data: back, underlay: device } = await one.client.call('card.loop', { data });
    assert.equal(back, data);
    assert.equal(device.up, true);
  });

  it('is not emptied under a VM', async () => {
    const refused = await one.client.call('card.scrub', {}).then(
      () => 'ok',
      (error: unknown) => PandoError.from(error).code,
    );
    assert.equal(refused, 'Conflict');
    await eventually(reaches, (ok) => ok);
  });

  it('is emptied: no namespace, no record, no byte of user data where the records were', async () => {
    const userData = metadataOf(a.port).userData;
    const records = join(one.stateDir, 'vpcs');
    const kept = join(lab.directory, 'kept');
    await mkdir(kept);
    for (const name of await readdir(records)) await link(join(records, name), join(kept, name));
    const found = async (): Promise<string[]> => {
      const names = await readdir(kept);
      const texts = await Promise.all(names.map((name) => readFile(join(kept, name), 'utf8')));
      return names.filter((_, at) => texts[at]?.includes(userData));
    };
    assert.notDeepEqual(await found(), []);
    await one.client.call('card.detachPort', { eniId: a.port.eniId });
    assert.deepEqual(await one.client.call('card.scrub', {}), { vpcs: 1, left: [] });
    assert.deepEqual(await found(), []);
    assert.deepEqual(await readdir(records), []);
    assert.deepEqual((await one.client.call('card.status', {})).vpcs, []);
    const { stdout } = await exec('ip', ['netns', 'list']);
    assert.ok(!stdout.includes(one.namespacePrefix));
    assert.deepEqual(await one.client.call('card.scrub', {}), { vpcs: 0, left: [] }, 'again: nothing');
  });

  it('begins anew when it is told to', async () => {
    const { startedAt } = await one.client.call('card.status', {});
    await one.client.call('card.restart', {});
    await eventually(
      async () => one.client.connected,
      (connected) => !connected,
    );
    await one.start();
    assert.notEqual((await one.client.call('card.status', {})).startedAt, startedAt);
  });
});
