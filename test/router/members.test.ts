/**
 * No member of a request is ignored. The lists of what has effect are beside the handlers (`members.ts` of the region and of the cell);
 * here they are compared with what the handlers read, and what they leave out is sent and must be refused.
 */
import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { cellActions } from '#cell/actions/index.ts';
import { cellMembers } from '#cell/actions/members.ts';
import { regionActions } from '#region/resources/index.ts';
import { regionMembers } from '#region/resources/members.ts';
import { routedActions } from '#router/actions.ts';
import { operationOf } from '#wire/actions.ts';
import { type ActionMembers, fateOf, refuseOthers } from '#wire/members.ts';
import type { KnownAction } from '#wire/types.ts';
import { type Belongings, furnish, valueFor } from './belongings.ts';
import { codeOf, messageOf } from './cloud.ts';
import { type InputMember, membersOf } from './idMembers.ts';
import { traceReads } from './memberReads.ts';
import { type RealClient, type RealCloud, startRealCloud } from './realCloud.ts';
import { requestWith } from './rightRequests.ts';

const routed = routedActions.filter((name) => name !== 'GetCallerIdentity') as readonly KnownAction[];
const tables = [
  { members: regionMembers, built: Object.keys(regionActions), file: 'src/region/resources/members.ts' },
  { members: cellMembers, built: cellActions, file: 'src/cell/actions/members.ts' },
];
const rowsOf = (action: string): readonly ActionMembers[] =>
  tables.flatMap(({ members }) => members[action] ?? []);

describe('the lists of members', () => {
  it('have every action that is built, and no other', () => {
    for (const { members, built, file } of tables) {
      const without = built.filter((action) => members[action] === undefined);
      assert.deepEqual(without, [], `name in ${file} what these actions do with their members`);
      assert.deepEqual(
        Object.keys(members).filter((action) => !built.includes(action)),
        [],
        file,
      );
    }
  });

  it('name members that the action has', () => {
    for (const { members } of tables)
      for (const [action, row] of Object.entries(members)) {
        const { input } = operationOf(action as KnownAction);
        const all = membersOf(input).map(({ path }) => path);
        const listed = [
          ...(row.effect === '*' ? [] : row.effect),
          ...Object.keys(row.always === '*' ? {} : (row.always ?? {})),
        ];
        for (const path of listed)
          assert.ok(
            all.some((one) => one === path || one.startsWith(`${path}.`)),
            `${action} ${path}`,
          );
      }
  });
});

describe('what is not listed', () => {
  const members: ActionMembers = { effect: ['A', 'B.C'], always: { D: ['is'], E: [true] } };
  const refusal = (input: object): string | undefined => {
    try {
      refuseOthers(input as Record<string, unknown>, members);
      return undefined;
    } catch (error) {
      return error instanceof Error ? error.message : String(error);
    }
  };

  it('is refused by name, wherever it is', () => {
    assert.equal(refusal({ A: { x: [1] }, B: [{ C: 1 }, { C: 2 }], D: 'is', E: true }), undefined);
    assert.equal(refusal({ F: 'x' }), 'The parameter F is not supported.');
    assert.equal(refusal({ B: [{ C: 1 }, { G: 1 }] }), 'The parameter B.G is not supported.');
    assert.equal(refusal({ F: { G: [{ H: new Date(0) }] } }), 'The parameter F.G.H is not supported.');
    assert.equal(refusal({ F: new Uint8Array(1) }), 'The parameter F is not supported.');
  });

  it('may be said not to be wanted; of what is always so nothing else may be said', () => {
    assert.equal(refusal({ F: false, G: 0, H: '', I: [], J: { K: [false, {}] } }), undefined);
    assert.equal(refusal({ D: 'other' }), "The parameter D is not supported with the value 'other'.");
    assert.equal(refusal({ E: false }), "The parameter E is not supported with the value 'false'.");
    assert.equal(fateOf(members, 'B.C.D'), 'effect');
    assert.equal(fateOf(members, 'B'), 'refused');
  });
});

/** Read only when others are there, or in states that the right request does not meet; each is tested where it is named. */
const readElsewhere: ReadonlySet<string> = new Set([
  // By the router: test/router/realTemplates.test.ts, test/router/realLaunches.test.ts.
  'RunInstances LaunchTemplate.LaunchTemplateName',
  'RunInstances LaunchTemplate.Version',
  'RunInstances Placement.AvailabilityZoneId',
  // The same default version set again is the same.
  'ModifyLaunchTemplate ClientToken',
  // The image is another account's, which is told first.
  'DescribeImageAttribute DryRun',
  // Whatever they are asked for is not there: test/region/absent.test.ts.
  'DescribeSnapshotAttribute DryRun',
  'GetManagedPrefixListEntries DryRun',
  // Of an address that is associated: test/region/addresses.test.ts.
  'AssociateAddress AllowReassociation',
]);

describe('a member of a request', () => {
  let cloud: RealCloud;
  let alice: RealClient;
  let own: Belongings;
  let location: string;
  let images = 0;
  before(async () => {
    cloud = await startRealCloud();
    alice = await cloud.account();
    own = await furnish(cloud, alice);
    const { location: built } = await cloud.region.db
      .selectFrom('image')
      .select('location')
      .executeTakeFirstOrThrow();
    location = built;
  });
  after(() => cloud.close());

  const textFor = (action: KnownAction, { name, shape }: InputMember): string => {
    switch (shape.kind === 'scalar' ? shape.scalar : 'string') {
      case 'boolean':
        return 'true';
      case 'integer':
      case 'decimal':
        return '7';
      case 'timestamp':
        return '2026-01-01T00:00:00Z';
      case 'blob':
        return valueFor(action, name, own) === 'text' ? 'dGV4dA==' : valueFor(action, name, own);
      default:
        return valueFor(action, name, own);
    }
  };

  const send = async (action: KnownAction, member: InputMember): Promise<string> => {
    const request = requestWith(action, member, textFor(action, member), own);
    if (action === 'RegisterImage') {
      request.ImageLocation = location;
      images += 1;
      request.Name = `image ${images}`;
    }
    const dry = operationOf(action).input?.byName.has('DryRun') && !/^(Describe|Get)/.test(action);
    if (dry && action !== 'RegisterImage') request.DryRun = 'true';
    const reply = await alice.act(action, request);
    return `${codeOf(reply)}: ${messageOf(reply)}`;
  };

  it('that is listed is read by its handler; any other is refused by name', async () => {
    const { reads, undo } = traceReads();
    const unread: string[] = [];
    const accepted: string[] = [];
    let refused = 0;
    try {
      for (const action of routed)
        for (const member of membersOf(operationOf(action).input)) {
          const { path } = member;
          // Kept and shown whole, whatever it says: test/router/realTemplates.test.ts.
          if (path.startsWith('LaunchTemplateData.') && path !== 'LaunchTemplateData.ImageId') continue;
          const fates = rowsOf(action).map((row) => fateOf(row, path));
          // Changes that are only tried are those of realDryRun.test.ts.
          if (path === 'DryRun' && !/^(Describe|Get)/.test(action)) continue;
          const answer = await send(action, member);
          const told = `${action} ${path} (${answer})`;
          if (fates.includes('effect')) {
            const seen =
              reads.get(action)?.has(path) || /^UnsupportedOperation|pagination token$/.test(answer);
            if (!seen && !readElsewhere.has(`${action} ${path}`)) unread.push(told);
          } else if (fates.includes('refused')) {
            refused += 1;
            // A structure may miss what it requires before it can be refused.
            if (!/^(UnsupportedOperation|MissingParameter): /.test(answer)) accepted.push(told);
          }
        }
    } finally {
      undo();
    }
    assert.deepEqual(unread, [], 'listed, and read by nobody');
    assert.deepEqual(accepted, [], 'not listed, and not refused');
    assert.ok(refused > 50, `${refused}`);
  });
});
