/**
 * One region under the name of any: what a request that is signed for another region calls this one and its zones, and what the answer
 * then calls them. Values are recognised by their form; what clients write themselves (tags, user data) is left alone.
 */
import { PandoError } from '#contracts/errors.ts';
import type { WireInput } from '#wire/types.ts';

export interface RegionNames {
  /** A request's input in this region's own terms. */
  inward(input: WireInput): WireInput;
  /** An answer in the terms of the region that the request was signed for. */
  outward(output: WireInput): WireInput;
}

const regionForm = /^[a-z0-9-]{1,64}$/;
const depthMax = 32;
/** Members whose values are the client's own words. */
const clientsOwn = new Set(['Tags', 'TagSpecifications', 'TagSet', 'UserData', 'KeyName', 'ClientToken']);

/**
 * Undefined where the request was signed for this very region.
 * @throws SignatureDoesNotMatch for what cannot be a region's name
 */
export const regionNames = (own: string, signed: string): RegionNames | undefined => {
  if (signed === own) return undefined;
  if (!regionForm.test(signed))
    throw new PandoError('SignatureDoesNotMatch', 'Credential should be scoped to a valid region.');
  return {
    inward: (input) => translate(input, renamer(signed, own)),
    outward: (output) => translate(output, renamer(own, signed)),
  };
};

type Rename = (text: string) => string;

/** Names of the region and its zones, ARNs and DNS names; anything else is as it was. */
const renamer =
  (from: string, to: string): Rename =>
  (text) => {
    if (!text.includes(from)) return text;
    if (text.startsWith(from) && /^[a-z]?$/.test(text.slice(from.length)))
      return to + text.slice(from.length);
    if (text.startsWith('arn:')) return text.replace(`:${from}:`, `:${to}:`);
    return text.replace(`.${from}.compute.`, `.${to}.compute.`).replace(`ec2.${from}.`, `ec2.${to}.`);
  };

const translate = (input: WireInput, rename: Rename): WireInput =>
  Object.fromEntries(
    Object.entries(input).map(([name, value]) => [
      name,
      clientsOwn.has(name) ? value : renamed(value, rename, 1),
    ]),
  );

const renamed = (value: unknown, rename: Rename, depth: number): unknown => {
  if (typeof value === 'string') return rename(value);
  if (typeof value !== 'object' || value === null || depth > depthMax) return value;
  if (Array.isArray(value)) return value.map((item) => renamed(item, rename, depth + 1));
  // A filter on tags asks for the client's own words.
  if ('Name' in value && typeof value.Name === 'string' && value.Name.startsWith('tag') && 'Values' in value)
    return value;
  return Object.fromEntries(
    Object.entries(value).map(([name, item]) => [
      name,
      clientsOwn.has(name) ? item : renamed(item, rename, depth + 1),
    ]),
  );
};
