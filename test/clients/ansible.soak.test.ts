/** Debian's Ansible collections: a playbook over everything built, which changes nothing the second time. */
import assert from 'node:assert/strict';
import { mkdir, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { test } from 'node:test';
import {
  type ClientRegion,
  clientRegionName,
  clientZone,
  hasPackages,
  startClientRegion,
  supportFile,
} from './support/clients.ts';

const timeout = 10 * 60_000;

test('Ansible: a playbook makes all, then changes nothing, then removes all', { timeout }, async (t) => {
  if (!(await hasPackages(t, 'ansible', 'python3-boto3'))) return;
  const region = await startClientRegion();
  const play = async (playbook: string) => {
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
    const tasks = printed.split('\n\n').filter((task) => task.includes('changed: '));
    return { changed: Number(changed), tasks };
  };
  const nothing = { changed: 0, tasks: [] };
  try {
    assert.ok((await play('present.yml')).changed > 10);
    assert.deepEqual(await play('present.yml'), nothing, 'the second run changes nothing');
    assert.deepEqual(await inventoryOf(region), { playbook: 2, playbook_single: 1 });
    assert.ok((await play('absent.yml')).changed > 8);
    assert.deepEqual(await play('absent.yml'), nothing, 'there is nothing left to remove');
  } finally {
    await region.close();
  }
});

/** How many VMs the inventory plugin finds in each group that it makes of the tag `Name`. */
const inventoryOf = async (region: ClientRegion): Promise<Record<string, number>> => {
  // The plugin has no option for an endpoint: botocore is told by a rule among the models of its user.
  const models = path.join(region.home, '.aws', 'models', 'ec2', '2016-11-15');
  await mkdir(models, { recursive: true });
  const rule = { type: 'endpoint', conditions: [], endpoint: { url: region.endpoint } };
  const parameters = { Region: { builtIn: 'AWS::Region', type: 'String' } };
  const rules = { version: '1.0', parameters, rules: [rule] };
  await writeFile(path.join(models, 'endpoint-rule-set-1.json'), JSON.stringify(rules));
  const inventory = path.join(region.home, 'region.aws_ec2.yml');
  await writeFile(
    inventory,
    JSON.stringify({
      plugin: 'amazon.aws.aws_ec2',
      regions: [clientRegionName],
      filters: { 'instance-state-name': 'running' },
      hostnames: ['instance-id'],
      keyed_groups: [{ key: 'tags.Name', separator: '' }],
    }),
  );
  const python = { ANSIBLE_PYTHON_INTERPRETER: '/usr/bin/python3' };
  const printed = await region.run('ansible-inventory', ['-i', inventory, '--list'], python);
  const groups: Record<string, { hosts?: string[] }> = JSON.parse(printed);
  const named = Object.entries(groups).filter(([name]) => name.startsWith('playbook'));
  return Object.fromEntries(named.map(([name, { hosts = [] }]) => [name, hosts.length]));
};
