/** Pages and filters of the describing actions, through the real router, region and cell. */
import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { absentHandlers } from '#region/absent/index.ts';
import { routedActions } from '#router/actions.ts';
import { operationOf } from '#wire/actions.ts';
import type { KnownAction } from '#wire/types.ts';
import { codeOf } from './cloud.ts';
import { documentedFilters } from './documentedFilters.ts';
import { type RealClient, type RealCloud, startFurnishedCloud } from './realCloud.ts';

const combination = { name: 'InvalidParameterCombination' };
const invalid = { name: 'InvalidParameterValue' };
const describing = routedActions.filter((name) => /^Describe/.test(name)) as KnownAction[];
/** Collections that are empty have their own test: the documentation of some of them names no filter. */
const filtered = describing.filter(
  (action) => operationOf(action).input?.byName.has('Filters') && !Object.hasOwn(absentHandlers, action),
);
/** What an action cannot be asked without. */
const needed: Readonly<Record<string, Readonly<Record<string, string>>>> = {
  DescribeLaunchTemplateVersions: { 'LaunchTemplateVersion.1': '$Latest' },
};

describe('pages and filters', () => {
  let cloud: RealCloud;
  let alice: RealClient;
  let mallory: RealClient;
  let ids: string[];
  before(async () => {
    ({ cloud, alice, mallory, ids } = await startFurnishedCloud());
  });
  after(() => cloud.close());

  it('takes every filter that EC2 documents, and no other', async () => {
    let tried = 0;
    const refused: string[] = [];
    for (const action of filtered) {
      const names = documentedFilters(action);
      assert.ok(names.length > 0, `the documentation of ${action} has no filters`);
      for (const name of names) {
        const filter = { 'Filter.1.Name': name, 'Filter.1.Value.1': 'sg-no such value' };
        const reply = await alice.act(action, { ...needed[action], ...filter });
        if (reply.status !== 200) refused.push(`${action} ${name}`);
        tried += 1;
      }
      for (const name of ['no-such-filter', 'tag:', '__proto__', 'constructor', '']) {
        const filter = { 'Filter.1.Name': name, 'Filter.1.Value.1': 'x' };
        const reply = await alice.act(action, { ...needed[action], ...filter });
        assert.equal(codeOf(reply), 'InvalidParameterValue', `${action} ${name}`);
      }
    }
    assert.deepEqual(refused, []);
    assert.ok(tried > 300, String(tried));
  });

  it('pages through instances: each once, tokens bound to query and account', async () => {
    const seen: string[] = [];
    const sizes: number[] = [];
    let NextToken: string | undefined;
    do {
      const page = await alice.call('DescribeInstances', { MaxResults: 5, NextToken });
      const shown = (page.Reservations ?? []).flatMap((one) => one.Instances ?? []);
      sizes.push(shown.length);
      seen.push(...shown.map((one) => one.InstanceId ?? ''));
      NextToken = page.NextToken;
    } while (NextToken !== undefined);
    assert.deepEqual(sizes, [5, 5, 2]);
    assert.deepEqual([...seen].sort(), [...ids].sort());
    const { NextToken: token = '' } = await alice.call('DescribeInstances', { MaxResults: 5 });
    const Filters = [{ Name: 'tag:set', Values: ['a'] }];
    await assert.rejects(
      alice.call('DescribeInstances', { MaxResults: 5, NextToken: token, Filters }),
      invalid,
    );
    await assert.rejects(alice.call('DescribeInstanceStatus', { MaxResults: 5, NextToken: token }), invalid);
    await assert.rejects(mallory.call('DescribeInstances', { MaxResults: 5, NextToken: token }), invalid);
    for (const NextToken of ['', 'x', `${token}x`, token.slice(0, -4), 'e30.e30'])
      await assert.rejects(alice.call('DescribeInstances', { MaxResults: 5, NextToken }), invalid, NextToken);
    const page = await alice.call('DescribeInstances', { MaxResults: 5, Filters });
    const next = await alice.call('DescribeInstances', { MaxResults: 5, Filters, NextToken: page.NextToken });
    const counts = [page, next].map(({ Reservations }) => Reservations?.[0]?.Instances?.length);
    assert.deepEqual([counts, next.NextToken], [[5, 2], undefined]);
  });

  it('refuses pages out of range, and pages of things that are named', async () => {
    for (const MaxResults of [-1, 0, 4, 1_001])
      await assert.rejects(alice.call('DescribeInstances', { MaxResults }), invalid, String(MaxResults));
    const one = ids.slice(0, 1);
    const MaxResults = 5;
    await assert.rejects(alice.call('DescribeInstances', { MaxResults, InstanceIds: one }), combination);
    await assert.rejects(alice.call('DescribeInstanceStatus', { MaxResults, InstanceIds: one }), combination);
    await assert.rejects(
      alice.call('DescribeInstanceCreditSpecifications', { MaxResults, InstanceIds: one }),
      combination,
    );
    const { Vpcs: [vpc] = [] } = await alice.call('DescribeVpcs', {});
    await assert.rejects(alice.call('DescribeVpcs', { MaxResults, VpcIds: [vpc?.VpcId ?? ''] }), combination);
    const volume = (await alice.call('DescribeVolumes', {})).Volumes?.[0]?.VolumeId ?? '';
    await assert.rejects(alice.call('DescribeVolumes', { MaxResults, VolumeIds: [volume] }), combination);
    await assert.rejects(
      alice.call('DescribeVolumeStatus', { MaxResults, VolumeIds: [volume] }),
      combination,
    );
  });

  it('matches filters as EC2 does: all of them, any of their values, with * and ?', async () => {
    const count = async (...Filters: { Name: string; Values: string[] }[]) =>
      ((await alice.call('DescribeInstances', { Filters })).Reservations ?? []).flatMap(
        (r) => r.Instances ?? [],
      ).length;
    assert.equal(await count({ Name: 'tag:set', Values: ['a'] }), 7);
    assert.equal(await count({ Name: 'tag-key', Values: ['s?t'] }), 7);
    assert.equal(await count({ Name: 'tag:set', Values: ['A'] }), 0);
    assert.equal(await count({ Name: 'instance-state-name', Values: ['stopped', 'runn*'] }), 12);
    assert.equal(await count({ Name: 'instance-state-code', Values: ['16'] }), 12);
    assert.equal(await count({ Name: 'instance-id', Values: ids.slice(0, 3) }), 3);
    assert.equal(
      await count({ Name: 'instance-id', Values: ids.slice(0, 3) }, { Name: 'tag:set', Values: ['b'] }),
      0,
    );
    assert.equal(await count({ Name: 'network-interface.addresses.primary', Values: ['true'] }), 12);
    assert.equal(await count({ Name: 'private-ip-address', Values: ['172.31.0.?'] }), 6);
    assert.equal(await count({ Name: 'vcpus', Values: ['1'] }, { Name: 'hypervisor', Values: ['xen'] }), 12);
  });

  it('walks through a thousand instances once, page by page, in one order', async () => {
    const many = await cloud.account();
    const template = await cloud.cell.services.db.query<{ id: string }>(
      `select id from instances where id = $1`,
      [ids[0]],
    );
    assert.equal(template.length, 1);
    // Rows alone: what pages cost is measured by what is read.
    await cloud.cell.services.db.query(
      `insert into instances
       select (jsonb_populate_record(i, jsonb_build_object(
         'id', 'i-001' || lpad(to_hex(n), 14, '0'), 'account_id', $2::text, 'reservation_id', 'r-001' || lpad(to_hex(n / 10), 14, '0'),
         'launch_index', n % 10, 'state', 'stopped', 'host_id', null, 'held', 'none', 'interface', null,
         'created_at', i.created_at + n / 10 * interval '1 millisecond'))).*
       from instances i, generate_series(0, 2499) n where i.id = $1`,
      [ids[0], many.accountId],
    );
    try {
      const seen = new Set<string>();
      let pages = 0;
      let NextToken: string | undefined;
      do {
        const page = await many.call('DescribeInstances', { MaxResults: 700, NextToken });
        for (const { Instances = [] } of page.Reservations ?? [])
          for (const { InstanceId = '' } of Instances) {
            assert.ok(!seen.has(InstanceId), InstanceId);
            seen.add(InstanceId);
          }
        NextToken = page.NextToken;
        pages += 1;
      } while (NextToken !== undefined);
      assert.deepEqual([seen.size, pages], [2_500, 4]);
      const last = await many.call('DescribeInstances', {
        Filters: [
          { Name: 'reservation-id', Values: ['r-0010000000000f9'] },
          { Name: 'private-dns-name', Values: ['*'] },
        ],
      });
      assert.deepEqual(last.Reservations, []);
      const found = await many.call('DescribeInstances', {
        MaxResults: 5,
        Filters: [{ Name: 'reservation-id', Values: ['r-001000000000000f9'] }],
      });
      assert.equal(found.Reservations?.[0]?.Instances?.length, 5);
      assert.equal(typeof found.NextToken, 'string');
    } finally {
      await cloud.cell.services.db.query('delete from instances where account_id = $1', [many.accountId]);
    }
  });
});
