import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import fc from 'fast-check';
import { isErrorCode } from '#contracts/errors.ts';
import { routedActions, routeOf } from '#router/actions.ts';
import { isKnownAction, operationOf } from '#wire/actions.ts';
import { actionNames } from '#wire/schema.ts';
import { randomFrom, randomValue } from '../wire/random.ts';
import { type Cloud, codeOf, startCloud } from './cloud.ts';
import { declared } from './declaredErrors.ts';
import { writeForm } from './forms.ts';

const expected: ReadonlySet<string> = new Set([...declared, 'Unavailable']);

describe('every action of the schema', () => {
  let cloud: Cloud;
  before(async () => {
    cloud = await startCloud({ zones: ['lab-1a', 'lab-1b'], processors: 1 });
  });
  after(() => cloud.close());

  const names = actionNames('ec2');
  const ask = async (action: string, seed: number) => {
    assert.ok(isKnownAction(action));
    const form = new URLSearchParams({ Action: action, Version: '2016-11-15' });
    const { input } = operationOf(action);
    if (input !== undefined) writeForm(input, randomValue(input, randomFrom(seed), 'request'), '', form);
    return cloud.send(form.toString());
  };

  it('is answered without a server error that is not declared, whatever its input', async () => {
    let seed = 1;
    for (const action of names) {
      const rounds = routedActions.includes(action) ? 10 : 1;
      for (let i = 0; i < rounds; i += 1) {
        seed += 1;
        const reply = await ask(action, seed);
        const code = codeOf(reply);
        assert.ok(
          reply.status < 500 || (code !== undefined && expected.has(code)),
          `${action} ${seed}: ${reply.body}`,
        );
        assert.ok(code === undefined || isErrorCode(code), code);
        if (routeOf(action as never) === undefined)
          // The message is compared by clients, to the letter (amazon.aws's `ec2_vpc_net_info`).
          assert.match(
            reply.body,
            /<Code>UnsupportedOperation<\/Code><Message>The functionality you requested is not available in this region\.<\/Message>/,
            `${action} ${seed}`,
          );
      }
    }
  });

  it('is never crashed by forms that are made of its own words', async () => {
    const word = fc.constantFrom(
      'Filter',
      'Name',
      'Value',
      'InstanceId',
      '1',
      '0',
      '999999999',
      '-1',
      '__proto__',
      '',
      'MaxResults',
      'NextToken',
      'é',
    );
    const name = fc.array(word, { minLength: 1, maxLength: 5 }).map((words) => words.join('.'));
    const pair = fc.tuple(name, fc.oneof(fc.string({ unit: 'binary', maxLength: 20 }), word));
    await fc.assert(
      fc.asyncProperty(
        fc.constantFrom(...routedActions),
        fc.array(pair, { maxLength: 6 }),
        async (action, pairs) => {
          const form = new URLSearchParams({ Action: action, Version: '2016-11-15' });
          for (const [key, value] of pairs) form.append(key, value.toWellFormed());
          const reply = await cloud.send(form.toString());
          const code = codeOf(reply);
          assert.ok(
            reply.status < 500 || (code !== undefined && expected.has(code)),
            `${form}: ${reply.body}`,
          );
        },
      ),
      { numRuns: 400 },
    );
  });

  it('is routed only if the schema has it', () => {
    for (const action of routedActions) assert.ok(isKnownAction(action), action);
  });
});
