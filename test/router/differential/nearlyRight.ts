/** Random requests of every action, right or with one thing wrong, through AWS's own client. */
import assert from 'node:assert/strict';
import * as sdk from '@aws-sdk/client-ec2';
import { cellHandlers } from '#cell/actions/index.ts';
import { isErrorCode } from '#contracts/errors.ts';
import { regionActions } from '#region/resources/index.ts';
import { routedActions } from '#router/actions.ts';
import { operationOf } from '#wire/actions.ts';
import type { Shape } from '#wire/schema.ts';
import type { KnownAction } from '#wire/types.ts';
import { type Random, randomFrom, randomValue } from '../../wire/random.ts';
import { type Belongings, furnish, kindOf, valueFor } from '../belongings.ts';
import type { RealClient, RealCloud } from '../realCloud.ts';
import { regionName } from '../realCloud.ts';

/** Random requests take what there is, of instances' room and of whole hosts. */
const noRoom = /^Insufficient(?:Instance|Host)Capacity$/;

const actions = routedActions.filter((name) => name !== 'GetCallerIdentity') as readonly KnownAction[];

type AnyHandler = (input: object, context: object) => Promise<object>;

/** Keeps what handlers answer, by the ids of their requests, until it is undone. */
const recordOutputs = () => {
  const outputs = new Map<string, object[]>();
  const undo: (() => void)[] = [];
  for (const table of [regionActions, cellHandlers] as object[])
    for (const [action, handler] of Object.entries(table) as [string, AnyHandler][]) {
      const recording: AnyHandler = async (input, context) => {
        const output = await handler(input, context);
        const request: unknown = Reflect.get(context, 'request') ?? context;
        const id = String(Reflect.get(Object(request), 'requestId'));
        outputs.set(id, [...(outputs.get(id) ?? []), output]);
        return output;
      };
      Reflect.set(table, action, recording);
      undo.push(() => void Reflect.set(table, action, handler));
    }
  return { outputs, undo: () => undo.forEach((step) => void step()) };
};

/** As both sides of the wire would write it: no empty parts, times as text, bytes as base64. */
const withoutToken = (answer: object | undefined): object => ({ ...answer, NextToken: undefined });

const plain = (value: unknown): unknown => {
  if (value instanceof Date) return value.toISOString();
  if (value instanceof Uint8Array) return Buffer.from(value).toString('base64');
  if (Array.isArray(value)) return value.map(plain);
  if (typeof value !== 'object' || value === null) return value ?? undefined;
  const entries = Object.entries(value).flatMap(([name, item]) => {
    const kept = plain(item);
    return kept === undefined || isEmpty(kept) ? [] : [[name, kept] as const];
  });
  return Object.fromEntries(entries);
};
const isEmpty = (value: unknown): boolean =>
  typeof value === 'object' && value !== null && Object.keys(value).length === 0;

/** Seen as a plain object: the compiler would otherwise compare eight hundred commands. */
const commands: object = sdk;

class Sender {
  readonly #client: sdk.EC2Client;

  constructor(port: number, client: RealClient) {
    this.#client = new sdk.EC2Client({
      endpoint: `http://127.0.0.1:${port}`,
      region: regionName,
      credentials: client.key,
      maxAttempts: 1,
    });
  }

  async send(
    action: string,
    input: object,
  ): Promise<{ readonly requestId: string; readonly output: object }> {
    const Command: new (input: object) => sdk.DescribeVpcsCommand = Reflect.get(commands, `${action}Command`);
    const { $metadata, ...output } = await this.#client.send(new Command(input));
    return { requestId: $metadata.requestId ?? '', output };
  }

  close(): void {
    this.#client.destroy();
  }
}

/** Wrong for whatever takes it. */
const nonsense: readonly unknown[] = [
  '',
  'x',
  ' ',
  "' or ''='",
  'i-0',
  '10.0.0.0/33',
  -1,
  2 ** 31,
  '*',
  'é'.repeat(300),
];

class Requests {
  readonly #random: Random;
  readonly #own: Belongings;

  constructor(random: Random, own: Belongings) {
    this.#random = random;
    this.#own = own;
  }

  /** The required members and some of the others; one time in three, one of them wrong. */
  of(action: KnownAction): object {
    const { input } = operationOf(action);
    const members = (input?.members ?? []).filter(
      (_, at) =>
        at < (input?.requiredCount ?? 0) || this.#random() < 2 / Math.max(4, input?.members.length ?? 0),
    );
    const made = new Map(members.map(({ name, shape }) => [name, this.#value(action, name, shape)]));
    const simple = members.filter(({ shape }) => shape.kind === 'scalar' && shape.scalar === 'string');
    const spoilt = simple[Math.floor(this.#random() * simple.length)];
    if (spoilt !== undefined && this.#random() < 1 / 3)
      made.set(
        spoilt.name,
        nonsense.filter((each) => typeof each === 'string')[Math.floor(this.#random() * 7)],
      );
    return Object.fromEntries(made);
  }

  #value(action: KnownAction, name: string, shape: Shape): unknown {
    if (shape.kind === 'list')
      return kindOf(name) === undefined && this.#random() < 0.3
        ? randomValue(shape, this.#random, 'request', 3)
        : [this.#value(action, name, shape.element)];
    if (shape.kind === 'structure')
      return Object.fromEntries(
        shape.members
          .filter((_, at) => at < shape.requiredCount || this.#random() < 0.3)
          .map((member) => [member.name, this.#value(action, member.name, member.shape)]),
      );
    if (shape.scalar === 'string') return valueFor(action, name, this.#own);
    if (shape.scalar === 'integer') return Math.floor(this.#random() * 10);
    return randomValue(shape, this.#random, 'request', 3);
  }
}

/** A code of the catalogue and no server error; and not an answer that AWS's deserializers choke on. */
const checkRefusal = (error: unknown, told: string): void => {
  assert.ok(error instanceof sdk.EC2ServiceException, `${told}\n${String(error)}`);
  const status = error.$metadata.httpStatusCode ?? 0;
  const fine = (status >= 400 && status < 500) || noRoom.test(error.name);
  assert.ok(
    fine && isErrorCode(error.name) && error.message !== '',
    `${told}\n${error.name}: ${error.message}`,
  );
};

/** Each request in a row; a new account where one has taken its own apart. */
export const nearlyRight = async (cloud: RealCloud, requests: number): Promise<void> => {
  const { outputs, undo } = recordOutputs();
  const seed = Date.now() % 1_000_000;
  const random = randomFrom(seed);
  let answered = 0;
  let account: { own: Belongings; sender: Sender } | undefined;
  try {
    for (const action of actions)
      for (let n = 0; n < requests; n += 1) {
        if (account === undefined) {
          const client = await cloud.account();
          account = { own: await furnish(cloud, client), sender: new Sender(cloud.port, client) };
        }
        const input = new Requests(random, account.own).of(action);
        const told = `seed ${seed}: ${action} ${JSON.stringify(input)}`;
        try {
          const { requestId, output } = await account.sender.send(action, input);
          answered += 1;
          const said = outputs.get(requestId) ?? [];
          // The token is the router's own: where it asks several for a page, one of them may not know that there is more.
          if (said.length === 1)
            assert.deepEqual(plain(withoutToken(output)), plain(withoutToken(said[0])), told);
        } catch (error) {
          if (error instanceof assert.AssertionError) throw error;
          checkRefusal(error, told);
          continue;
        }
        if (!/^(Terminate|Delete|Release|Detach|Disassociate|Deregister|Replace)/.test(action)) continue;
        account.sender.close();
        account = undefined;
      }
  } finally {
    account?.sender.close();
    undo();
  }
  assert.ok(answered > actions.length / 3, `seed ${seed}: ${answered} requests were answered`);
};
