import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { exec } from '#base/exec.ts';
import { shells } from '#card/kernel/shells.ts';
import { ToolBatch } from '#card/kernel/toolBatch.ts';
import { labName } from '../support/labName.ts';

const timeoutMs = 10_000;

describe('a tool that stays', () => {
  const name = `${labName()}-tool`;
  let ip: ToolBatch;
  before(async () => {
    await exec('ip', ['netns', 'add', name]);
    ip = new ToolBatch('ip', [], ['nsenter', `--net=/run/netns/${name}`]);
  });
  after(async () => {
    await ip.close();
    await shells.close(name);
    await exec('ip', ['netns', 'del', name]);
  });

  it('runs batches one after another, and says what they printed', async () => {
    const [first, second] = await Promise.all([
      ip.run(['link set dev lo up', 'addr add 198.19.3.1/32 dev lo'], timeoutMs),
      ip.run(['addr show dev lo'], timeoutMs),
    ]);
    assert.equal(first, '');
    assert.match(second, /inet 198\.19\.3\.1\/32/);
    assert.equal(await ip.run([], timeoutMs), '');
  });

  it('names the line that failed, runs those after it, and goes on', async () => {
    const lines = [
      'addr add 198.19.3.2/32 dev lo',
      'addr add 198.19.3.2/32 dev lo',
      'addr add 198.19.3.3/32 dev lo',
    ];
    await assert.rejects(ip.run(lines, timeoutMs), /ip addr add 198\.19\.3\.2\/32 dev lo.*already/is);
    const shown = await ip.run(['addr show dev lo'], timeoutMs);
    for (const host of [2, 3]) assert.match(shown, new RegExp(`198\\.19\\.3\\.${host}/32`));
  });

  it('says why it ended over a line that it cannot bear', async () => {
    const own = new ToolBatch('ip', [], ['nsenter', `--net=/run/netns/${name}`]);
    await assert.rejects(own.run(['route add 10.1.2.3/99 dev lo'], timeoutMs), /10\.1\.2\.3\/99/);
    assert.ok(own.ended);
    await own.close();
  });

  it('does not take a new device for an older one of the same name', async () => {
    await shells.keepTools(name);
    const table = (): Promise<string> => shells.batch(name, 'ip', ['route show table 77']);
    for (let round = 0; round < 3; round++) {
      await exec('ip', [
        '-n',
        name,
        'link',
        'add',
        'name',
        'd0',
        'type',
        'veth',
        'peer',
        'name',
        `p${round}`,
      ]);
      shells.devicesChanged(name);
      await shells.batch(name, 'ip', [
        'link set dev d0 up',
        `route replace 198.19.4.${round}/32 dev d0 table 77`,
      ]);
      assert.match(await table(), new RegExp(`198\\.19\\.4\\.${round} dev d0`));
      await exec('ip', ['-n', name, 'link', 'del', 'dev', 'd0']);
    }
  });

  it('is started again in a namespace that got the name of another', async () => {
    assert.match(await shells.batch(name, 'ip', ['addr show dev lo']), /198\.19\.3\.1/);
    await exec('ip', ['netns', 'del', name]);
    await assert.rejects(shells.run(name, 'true'), /netns/);
    await exec('ip', ['netns', 'add', name]);
    assert.doesNotMatch(await shells.batch(name, 'ip', ['addr show dev lo']), /198\.19/);
  });
});
