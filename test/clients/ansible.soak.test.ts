/** Debian's Ansible collections: a playbook over everything built, which changes nothing the second time. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { clientZone, hasPackages, startClientRegion, supportFile } from './support/clients.ts';

const timeout = 10 * 60_000;

test('Ansible: a playbook makes all, then changes nothing, then removes all', { timeout }, async (t) => {
  if (!(await hasPackages(t, 'ansible', 'python3-boto3'))) return;
  const region = await startClientRegion();
  const play = async (playbook: string): Promise<number> => {
    const given = {
      endpoint: region.endpoint,
      image: region.cloud.imageId,
      type: 't3.micro',
      zone: clientZone,
    };
    const variables = { ansible_python_interpreter: '/usr/bin/python3', ...given };
    const printed = await region.run(
      'ansible-playbook',
      ['-i', 'localhost,', supportFile(playbook), '-e', JSON.stringify(variables)],
      { ANSIBLE_DEPRECATION_WARNINGS: 'false' },
    );
    const changed = /changed=(\d+) +unreachable=0 +failed=0/.exec(printed)?.[1];
    assert.ok(changed !== undefined, printed);
    t.diagnostic(`${playbook}: ${changed} changed`);
    if (changed === '0') return 0;
    t.diagnostic(
      printed
        .split('\n\n')
        .filter((task) => task.includes('changed: '))
        .join('; '),
    );
    return Number(changed);
  };
  try {
    assert.ok((await play('present.yml')) > 10);
    assert.equal(await play('present.yml'), 0, 'the second run changes nothing');
    assert.ok((await play('absent.yml')) > 8);
    assert.equal(await play('absent.yml'), 0, 'there is nothing left to remove');
  } finally {
    await region.close();
  }
});
