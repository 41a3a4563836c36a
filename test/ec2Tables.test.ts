/** The tables in `docs/ec2/` are those of the handlers as they are now. */
import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { routedActions } from '#router/actions.ts';
import { absentTest, ec2Tables, tablesDir } from '../tools/ec2-tables.ts';

const home = join(import.meta.dirname, '..');
const advice = 'Run: node tools/ec2-tables.ts';

/** A test that names one more action makes no table wrong: of links it is only asked that they lead somewhere. */
const withoutTests = (text: string): string => text.replace(/^Tests: .*$/m, '');

describe('the tables of actions', () => {
  const tables = ec2Tables();
  const read = (name: string): string => readFileSync(join(home, tablesDir, name), 'utf8');

  it('are current', () => {
    assert.deepEqual(readdirSync(join(home, tablesDir)).sort(), [...tables.keys()].sort(), advice);
    for (const [name, text] of tables)
      assert.equal(withoutTests(read(name)), withoutTests(text), `${name}. ${advice}`);
  });

  it('link to tests that name the action, one at least', () => {
    for (const action of routedActions) {
      const links = [...read(`${action}.md`).matchAll(/\(\.\.\/\.\.\/(test\/[^)]+)\)/g)].map(
        ([, file = '']) => file,
      );
      assert.ok(links.length > 0, `${action} has no test`);
      for (const file of links.filter((each) => each !== absentTest))
        assert.ok(readFileSync(join(home, file), 'utf8').includes(action), `${action}: ${file}. ${advice}`);
    }
  });

  it('tell what is known of some', () => {
    const vpc = tables.get('CreateVpc.md') ?? '';
    for (const part of [
      '| `CidrBlock` | has effect |',
      '| `Ipv6Pool` | refused |',
      '`VpcLimitExceeded`',
      'src/region/resources/vpcs.ts',
    ])
      assert.ok(vpc.includes(part), part);
    const run = tables.get('RunInstances.md') ?? '';
    for (const part of [
      '`InvalidAMIID.Malformed`',
      '`InvalidBlockDeviceMapping`',
      'src/cell/actions/run-instances.ts',
    ])
      assert.ok(run.includes(part), part);
    assert.ok(tables.get('DescribeVpcs.md')?.includes('Filters: `cidr`'));
  });

  it('name the errors that the action has, and none of the catalogue beside', () => {
    const errorsIn = (action: string) => /^Errors: (.*)\.$/m.exec(tables.get(`${action}.md`) ?? '')?.[1];
    assert.equal(errorsIn('GetConsoleOutput'), '`InvalidInstanceID.Malformed`, `InvalidInstanceID.NotFound`');
    for (const code of ['NatGatewayMalformed', 'NatGatewayNotFound'])
      assert.ok(errorsIn('DescribeNatGateways')?.includes(`\`${code}\``), code);
    const having = [...tables.values()].filter((text) => text.includes('`InvalidCoipPoolID.NotFound`'));
    assert.equal(having.length, 1, 'one action of all has such ids');
  });
});
