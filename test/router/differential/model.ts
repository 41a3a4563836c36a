/** What is asked for, and what must be shown of it afterwards: Terraform's "apply, then plan: no changes", by machine. */
import assert from 'node:assert/strict';
import fc from 'fast-check';
import type { Belongings } from '../belongings.ts';
import type { RealClient, RealCloud } from '../realCloud.ts';

export interface World {
  readonly cloud: RealCloud;
  readonly client: RealClient;
  /** One of everything; models leave it as it is. */
  readonly own: Belongings;
}

/** One kind of thing: inputs for it, and the proof that all of an input is shown once it was made. Leaves nothing behind. */
export interface Model {
  readonly name: string;
  readonly property: (world: World) => fc.IAsyncPropertyWithHooks<[unknown]>;
}

export const model = <T>(
  name: string,
  input: fc.Arbitrary<T>,
  check: (world: World, input: T) => Promise<void>,
): Model => ({
  name,
  property: (world) => fc.asyncProperty(input as fc.Arbitrary<unknown>, (value) => check(world, value as T)),
});

export interface Tag {
  readonly Key: string;
  readonly Value: string;
}

const word = fc.string({ unit: 'grapheme', minLength: 1, maxLength: 12 }).map((text) => text.toWellFormed());
/** XML holds no control characters, and no request the character U+0000. */
const isText = (text: string): boolean => !/[\p{Cc}\p{Cn}\p{Cs}\p{Co}]/u.test(text);

export const tags: fc.Arbitrary<readonly Tag[]> = fc.uniqueArray(
  fc.record({
    Key: word.filter((text) => isText(text) && !text.toLowerCase().startsWith('aws:')),
    Value: fc.oneof(fc.constant(''), word.filter(isText)),
  }),
  { selector: (tag) => tag.Key, maxLength: 4 },
);

/** As a create action takes them; none at all where there are none. */
export const tagged = <T extends string>(ResourceType: T, list: readonly Tag[]) =>
  list.length === 0 ? {} : { TagSpecifications: [{ ResourceType, Tags: [...list] }] };

const byKey = (list: readonly { Key?: string; Value?: string }[]): readonly Tag[] =>
  list.map(({ Key = '', Value = '' }) => ({ Key, Value })).sort((a, b) => (a.Key < b.Key ? -1 : 1));

export const sameTags = (
  shown: readonly { Key?: string | undefined; Value?: string | undefined }[] | undefined,
  asked: readonly Tag[],
): void => assert.deepEqual(byKey((shown ?? []) as Tag[]), byKey(asked));

/** Every member that was asked for is shown with its value. */
export const shows = (shown: object | undefined, asked: object): void => {
  for (const [name, value] of Object.entries(asked))
    if (value !== undefined) assert.deepEqual(Reflect.get(shown ?? {}, name), value, name);
};

/** The same thing, shown twice; the order of tags means nothing. */
export const same = (shown: object | undefined, other: object | undefined): void => {
  const sorted = (one: object | undefined) => ({ ...one, Tags: byKey(Reflect.get(one ?? {}, 'Tags') ?? []) });
  assert.deepEqual(sorted(shown), sorted(other));
};

/** A call that must be refused with a code. */
export const refuses = (call: Promise<unknown>, name: string): Promise<void> =>
  assert.rejects(call, { name });

/** Text that an action takes in a name or a description. */
export const plainText = (charsMin: number, charsMax: number): fc.Arbitrary<string> =>
  fc
    .string({
      unit: fc.constantFrom(...'abzAZ019 ._-:/()#,@[]+=&;{}!$*'),
      minLength: charsMin,
      maxLength: charsMax,
    })
    .filter((text) => text.trim() === text);

/** An address with host bits or without, and the range that it means. */
export const range = (
  base: readonly [number, number],
  prefixMin: number,
  prefixMax: number,
): fc.Arbitrary<{ readonly given: string; readonly network: string }> =>
  fc
    .record({ bits: fc.nat(0xffff), prefix: fc.integer({ min: prefixMin, max: prefixMax }) })
    .map(({ bits, prefix }) => {
      const address = ((base[0] << 24) | (base[1] << 16) | bits) >>> 0;
      const mask = prefix === 0 ? 0 : (0xffffffff << (32 - prefix)) >>> 0;
      return {
        given: `${dotted(address)}/${prefix}`,
        network: `${dotted((address & mask) >>> 0)}/${prefix}`,
      };
    });

const dotted = (address: number): string =>
  [24, 16, 8, 0].map((shift) => (address >>> shift) & 0xff).join('.');
