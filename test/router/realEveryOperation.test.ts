/** A property over every operation of EC2's schema, through the real router, region and cell. */
import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import fc from 'fast-check';
import { isErrorCode } from '#contracts/errors.ts';
import { absentHandlers } from '#region/absent/index.ts';
import { routedActions } from '#router/actions.ts';
import { operationOf } from '#wire/actions.ts';
import { actionNames, type Shape } from '#wire/schema.ts';
import type { KnownAction } from '#wire/types.ts';
import { type Random, randomFrom, randomValue } from '../wire/random.ts';
import { type Belongings, furnish, kindOf, valueFor } from './belongings.ts';
import { codeOf, type Reply } from './cloud.ts';
import { declared } from './declaredErrors.ts';
import { writeForm } from './forms.ts';
import { type RealClient, type RealCloud, startRealCloud } from './realCloud.ts';

const routed = routedActions.filter((name) => name !== 'GetCallerIdentity') as KnownAction[];
/** Collections that are empty are asked everything by a test of their own. */
const lively = routed.filter((name) => !Object.hasOwn(absentHandlers, name));
const reads = (action: string): boolean => /^(Describe|Get)/.test(action);
const all = actionNames('ec2') as readonly KnownAction[];

const nonsense = [
  '',
  'x',
  '-1',
  '0',
  '4294967296',
  'true',
  "' or ''='",
  '\u{1f4a5}',
  '10.0.0.0/8',
  'i-0',
  '*',
];
const pick = <T>(list: readonly T[], random: Random): T | undefined =>
  list[Math.floor(random() * list.length)];

describe('every operation', () => {
  let cloud: RealCloud;
  let clients: RealClient[];
  let owned: Belongings[];
  before(async () => {
    cloud = await startRealCloud();
    clients = await Promise.all([cloud.account(), cloud.account()]);
    owned = await Promise.all(clients.map((client) => furnish(cloud, client)));
  });
  after(() => cloud.close());

  /** Mostly few parameters, so that a request gets far; mostly right ids, sometimes the other account's. */
  const wellTyped = (action: KnownAction, random: Random): URLSearchParams => {
    const form = new URLSearchParams();
    const { input } = operationOf(action);
    if (input === undefined) return form;
    const few = random() < 0.7;
    const own = owned[random() < 0.9 ? 0 : 1];
    const chance = few ? 2.5 / Math.max(4, input.members.length) : 0.6;
    for (const [at, member] of input.members.entries()) {
      if (at >= input.requiredCount && random() > chance) continue;
      const value = randomFor(action, member.name, member.shape, random, own);
      writeForm(member.shape, value, member.queryName, form);
    }
    if (random() < 0.1 && input.byName.has('DryRun')) form.set('DryRun', 'true');
    return form;
  };
  const randomFor = (
    action: KnownAction,
    name: string,
    shape: Shape,
    random: Random,
    own: Belongings | undefined,
  ): unknown => {
    const meant = own !== undefined && random() < 0.9 ? own : undefined;
    if (meant !== undefined && shape.kind === 'scalar' && (shape.scalar === 'string' || random() < 0.7))
      return shape.scalar === 'boolean' ? random() < 0.5 : valueFor(action, name, meant);
    if (meant !== undefined && shape.kind === 'list' && kindOf(name) !== undefined)
      return Array.from({ length: 1 + Math.floor(random() * 2) }, () => valueFor(action, name, meant));
    if (shape.kind === 'structure')
      return Object.fromEntries(
        shape.members
          .filter((_, at) => at < shape.requiredCount || random() < 0.4)
          .map((member) => [member.name, randomFor(action, member.name, member.shape, random, own)]),
      );
    return randomValue(shape, random, 'request', 3);
  };

  /** One thing about the form is made wrong. */
  const illTyped = (action: KnownAction, random: Random): URLSearchParams => {
    const form = wellTyped(action, random);
    const [name, value] = pick([...form], random) ?? ['Nonsense', 'x'];
    const wrong = pick(nonsense, random) ?? '';
    switch (Math.floor(random() * 6)) {
      case 0:
        form.set(name, wrong);
        break;
      case 1:
        form.delete(name);
        break;
      case 2:
        form.append(name, value);
        break;
      case 3:
        form.append(`${name}.1`, wrong);
        break;
      case 4:
        form.append(name.replace(/\.1(?=\.|$)/, '.1000000'), wrong);
        break;
      default:
        form.append(`${name}x`, wrong);
    }
    return form;
  };

  const check = (action: string, form: URLSearchParams, reply: Reply): void => {
    const code = codeOf(reply);
    const told = `${action} ${form}\n${reply.status} ${reply.body}`;
    assert.ok(reply.status < 500 || declared.has(code ?? ''), told);
    assert.ok(reply.status === 200 ? code === undefined : code !== undefined && isErrorCode(code), told);
  };

  it('that is not built says so, and never with a server error', async () => {
    const [alice] = clients;
    assert.ok(alice !== undefined);
    const before = await cloud.fingerprint();
    let seed = 1;
    for (const action of all.filter((name) => !routed.includes(name))) {
      const form = wellTyped(action, randomFrom(seed++));
      const reply = await alice.act(action, Object.fromEntries(form));
      check(action, form, reply);
      assert.equal(codeOf(reply), 'UnsupportedOperation', action);
    }
    assert.equal(await cloud.fingerprint(), before);
  });

  it('property: is never answered by an undeclared server error, and one that is refused changes nothing', async () => {
    const statuses = new Map<string, Set<number>>();
    let state = await cloud.fingerprint();
    let changed = 0;
    const request = fc.record({
      action: fc.oneof(
        { weight: 1, arbitrary: fc.constantFrom(...lively.filter(reads)) },
        { weight: 2, arbitrary: fc.constantFrom(...lively.filter((name) => !reads(name))) },
      ),
      seed: fc.integer(),
      typed: fc.boolean(),
    });
    await fc.assert(
      fc.asyncProperty(request, async ({ action, seed, typed }) => {
        const [alice] = clients;
        assert.ok(alice !== undefined);
        const random = randomFrom(seed);
        const form = typed ? wellTyped(action, random) : illTyped(action, random);
        const query = new URLSearchParams({ Action: action, Version: '2016-11-15' });
        const reply = await alice.send(`${query}&${form}`);
        check(action, form, reply);
        statuses.set(action, (statuses.get(action) ?? new Set()).add(reply.status));
        if (reply.status !== 200) {
          assert.equal(await cloud.fingerprint(), state, `${action} ${form}\n${reply.body}`);
          return;
        }
        if (reads(action)) return;
        await cloud.quiet();
        await refurnish();
        const now = await cloud.fingerprint();
        if (now !== state) changed += 1;
        state = now;
      }),
      { numRuns: 700, endOnFailure: true },
    );
    const succeeded = [...statuses].filter(([, seen]) => seen.has(200)).length;
    // The generator is worth something only if requests get through to where things are changed. What is asked is far below what is
    // usual (45 actions, 33 changes), so that it hangs on no draw.
    const told = `${succeeded} of ${lively.length} actions succeeded, ${changed} requests changed something`;
    assert.ok(succeeded > lively.length / 4 && changed > 10, told);
  });

  /** What the requests have taken apart is made anew, in an account of its own. */
  const refurnish = async (): Promise<void> => {
    const [alice] = clients;
    const [own] = owned;
    if (alice === undefined || own === undefined) return;
    const [window, instance, gateway, subnet] = await Promise.all([
      alice.act('DescribeInstanceEventWindows', { 'InstanceEventWindowId.1': own.window }),
      alice.act('DescribeInstances', { 'InstanceId.1': own.instance }),
      alice.act('DescribeInternetGateways', { 'InternetGatewayId.1': own.gateway }),
      alice.act('DescribeRouteTables', {
        'Filter.1.Name': 'association.subnet-id',
        'Filter.1.Value.1': own.subnet,
      }),
    ]);
    if (window.status !== 200) {
      const made = await alice.call('CreateInstanceEventWindow', { CronExpression: '* 0-4 * * 1' });
      owned[0] = { ...own, window: made.InstanceEventWindow?.InstanceEventWindowId ?? '' };
    }
    const whole = /<name>(running|stopped)<\/name>/.test(instance.body) && gateway.body.includes(own.vpc);
    if (whole && subnet.body.includes(own.association)) return;
    const { Reservations = [] } = await alice.call('DescribeInstances', {});
    const left = Reservations.flatMap((one) => one.Instances ?? []).flatMap(({ InstanceId = '', State }) =>
      State?.Name === 'terminated' ? [] : [InstanceId],
    );
    for (const InstanceId of left)
      for (const attribute of ['DisableApiTermination', 'DisableApiStop'])
        await alice.act('ModifyInstanceAttribute', { InstanceId, [`${attribute}.Value`]: 'false' });
    if (left.length > 0) await alice.call('TerminateInstances', { InstanceIds: left });
    await cloud.quiet();
    clients[0] = await cloud.account();
    owned[0] = await furnish(cloud, clients[0]);
  };
});
