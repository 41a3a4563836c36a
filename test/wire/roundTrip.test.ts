import assert from 'node:assert/strict';
import { createRequire } from 'node:module';
import { describe, it } from 'node:test';
import * as sdk from '@aws-sdk/client-ec2';
import { isKnownAction } from '#wire/actions.ts';
import { decodeRequest } from '#wire/decode.ts';
import { encodeResponse } from '#wire/encode.ts';
import { actionNames, findOperation, type Shape, StructureShape, schemaSource } from '#wire/schema.ts';
import { reviveInput, toTransport } from '#wire/transport.ts';
import { randomFrom, randomValue } from './random.ts';

/** The part of the SDK's client that is driven here; its commands are found by name. */
interface AnyClient {
  send(command: unknown): Promise<object>;
}

/** AWS's own client, whose wire ends in memory: it keeps what was sent, and is given what comes back. */
class Loop {
  sent = '';
  answer = '';
  readonly #client: AnyClient;

  constructor() {
    this.#client = new sdk.EC2Client({
      region: 'edge-1',
      endpoint: 'http://127.0.0.1:9',
      credentials: { accessKeyId: 'AKIDEXAMPLE', secretAccessKey: 'secret' },
      maxAttempts: 1,
      requestHandler: {
        handle: async (request: { body: string }) => {
          this.sent = request.body;
          return { response: { statusCode: 200, headers: {}, body: Buffer.from(this.answer) } };
        },
      },
    });
  }

  async call(action: string, input: object): Promise<object> {
    const Command: new (input: object) => unknown = Reflect.get(sdk, `${action}Command`);
    const { $metadata: _, ...output } = Object.assign(
      { $metadata: {} },
      await this.#client.send(new Command(input)),
    );
    return output;
  }
}

/** The SDK fills in client tokens by itself, also inside structures: only tokens that were given are compared. */
function withoutAddedTokens(decoded: unknown, sent: unknown): unknown {
  if (Array.isArray(decoded)) {
    return decoded.map((item, i) => withoutAddedTokens(item, Array.isArray(sent) ? sent[i] : undefined));
  }
  if (
    typeof decoded !== 'object' ||
    decoded === null ||
    decoded instanceof Date ||
    decoded instanceof Uint8Array
  ) {
    return decoded;
  }
  const original: object = typeof sent === 'object' && sent !== null ? sent : {};
  return Object.fromEntries(
    Object.entries(decoded)
      .filter(([name]) => name !== 'ClientToken' || Object.hasOwn(original, name))
      .map(([name, value]) => [name, withoutAddedTokens(value, Reflect.get(original, name))]),
  );
}

function randomInput(action: string, seed: number): object {
  const shape = findOperation(action)?.input;
  const input = shape === undefined ? {} : Object(randomValue(shape, randomFrom(seed), 'request'));
  // The SDK signs a URL of its own into this one, unless it finds one.
  if (action === 'CopySnapshot')
    Object.assign(input, { PresignedUrl: 'http://x/', DestinationRegion: 'edge-1' });
  return input;
}

function randomOutput(action: string, seed: number): object {
  const shape = findOperation(action)?.output;
  return shape === undefined ? {} : Object(randomValue(shape, randomFrom(seed), 'response'));
}

/** Members of resources whose `tagSet` is there even when it is empty. */
const listsNoTags = [
  'PropagatingVgws',
  'Entries',
  'InternetGatewayId',
  'DhcpConfigurations',
  'PublicKey',
  'TagSet',
  'SecurityGroupRuleId',
];

/** Where most resources have no tags, their `tagSet` is left out, so a client reads nothing. */
function withoutNoTags(shape: Shape | undefined, value: unknown): unknown {
  if (shape?.kind === 'list' && Array.isArray(value))
    return value.map((item) => withoutNoTags(shape.element, item));
  if (!(shape instanceof StructureShape) || typeof value !== 'object' || value === null) return value;
  const entries = shape.members.flatMap(({ name, xmlName, shape: inner }) => {
    const own: unknown = Reflect.get(value, name);
    const isTag =
      inner.kind === 'list' && inner.element.kind === 'structure' && inner.element.byName.size === 2;
    const left = !listsNoTags.some((each) => shape.byName.has(each));
    const none = left && xmlName === 'tagSet' && isTag && Array.isArray(own) && own.length === 0;
    return !Object.hasOwn(value, name) || none ? [] : [[name, withoutNoTags(inner, own)]];
  });
  return Object.fromEntries(entries);
}

async function checkAction(loop: Loop, action: string, seed: number): Promise<void> {
  const input = randomInput(action, seed);
  const output = randomOutput(action, seed + 1);
  assert.ok(isKnownAction(action));
  loop.answer = encodeResponse(action, output, 'a-request-id');
  const received = await loop.call(action, input);
  const expected = withoutNoTags(findOperation(action)?.output, output) ?? {};
  assert.deepEqual(received, expected, `${action}'s response, seed ${seed}`);
  const decoded = decodeRequest(loop.sent);
  assert.deepEqual(withoutAddedTokens(decoded.input, input), input, `${action}'s request, seed ${seed}`);
  const json: unknown = JSON.parse(JSON.stringify(toTransport(decoded.action, decoded.input)));
  assert.deepEqual(reviveInput(decoded.action, json), decoded.input, `${action}'s transport, seed ${seed}`);
}

describe('the schema table', () => {
  it('was made from the SDK that is installed', () => {
    const { version } = createRequire(import.meta.url)('../../package-lock.json').packages[
      'node_modules/@aws-sdk/client-ec2'
    ];
    assert.equal(schemaSource('ec2').source, `@aws-sdk/client-ec2@${version}`);
  });
});

describe("AWS's own client", () => {
  const seeds = [1, 2, 3, 5, 20_161_115];
  for (const seed of seeds) {
    it(`sends what we decode and reads what we encode, for every action (seed ${seed})`, async () => {
      const loop = new Loop();
      const actions = actionNames('ec2');
      assert.ok(actions.length >= 823);
      for (const [i, action] of actions.entries()) await checkAction(loop, action, seed * 1_000 + i);
    });
  }
});
