import type { Scalar, Shape, StructureShape } from '#wire/schema.ts';

/** Numbers in [0, 1) that depend on the seed alone. */
export type Random = () => number;

/** A small generator of good enough quality; a failing run is repeated by its seed. */
export function randomFrom(seed: number): Random {
  let state = seed | 0;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4_294_967_296;
  };
}

const texts = [
  'a',
  ' b ',
  'ä€🙂',
  '<&>"\'',
  "'; DROP TABLE x;--",
  '$(id)',
  '%41+%2B',
  '__proto__',
  'a=b&c=d',
  '\ttab',
  'x\ny',
];
/** Beyond this, values have no optional parts: structures are up to ten deep. */
const depthMax = 5;

/** What a value is generated for: a request cannot tell an empty list or structure from an absent one. */
export type Direction = 'request' | 'response';

/** A random value of `shape`. */
export function randomValue(shape: Shape, random: Random, direction: Direction, depth = 0): unknown {
  if (shape.kind === 'scalar') return randomScalar(shape.scalar, random);
  if (shape.kind === 'structure') return randomStructure(shape, random, direction, depth);
  const least = direction === 'request' ? 1 : 0;
  const length = depth > depthMax ? least : least + Math.floor(random() * 3);
  return Array.from({ length }, () => randomValue(shape.element, random, direction, depth + 1));
}

function randomStructure(shape: StructureShape, random: Random, direction: Direction, depth: number): object {
  const chance = depth > depthMax ? 0 : depth === 0 ? 0.6 : 0.4;
  const required = direction === 'request' ? shape.requiredCount : 0;
  const chosen = shape.members.filter((_, i) => random() < chance || i < required);
  if (chosen.length === 0 && direction === 'request' && depth > 0) {
    const simple = shape.members.find((member) => member.shape.kind === 'scalar') ?? shape.members[0];
    if (simple !== undefined) chosen.push(simple);
  }
  return Object.fromEntries(
    chosen.map((member) => [member.name, randomValue(member.shape, random, direction, depth + 1)]),
  );
}

function randomScalar(scalar: Scalar, random: Random): unknown {
  switch (scalar) {
    case 'string':
      return texts[Math.floor(random() * texts.length)] ?? '';
    case 'integer':
      return Math.floor((random() - 0.5) * 2 ** (1 + Math.floor(random() * 52)));
    case 'decimal':
      return (random() - 0.5) * 10 ** Math.floor(random() * 20 - 10);
    case 'boolean':
      return random() < 0.5;
    case 'timestamp':
      return new Date(Math.floor(random() * 4_000_000_000_000));
    case 'blob':
      return Uint8Array.from({ length: 1 + Math.floor(random() * 9) }, () => Math.floor(random() * 256));
  }
}
