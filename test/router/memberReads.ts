/** Which members of their inputs handlers read: a handler that never looks at a member ignores it. */
import { cellHandlers } from '#cell/actions/index.ts';
import { regionActions } from '#region/resources/index.ts';

/** Reads of the whole input that say nothing about what a member does: tokens and pages are bound to all of it. */
const wholeReads = /\b(hashOf|claimToken|readPage|canonicalJson)\b|pagination\.ts|client-tokens\.ts/;

/** What those readers act on themselves. */
const bound: ReadonlySet<string> = new Set(['MaxResults', 'NextToken', 'ClientToken']);

const isPlain = (value: unknown): value is object =>
  typeof value === 'object' && value !== null && !(value instanceof Date) && !ArrayBuffer.isView(value);

/** The value, noting under which path each of its members is read. A list has the path of its elements. */
const traced = (value: object, path: string, note: (path: string) => void): object =>
  new Proxy(value, {
    get: (target, name, receiver) => {
      const item: unknown = Reflect.get(target, name, receiver);
      if (typeof name === 'symbol' || !Object.hasOwn(target, name)) return item;
      const inner = Array.isArray(target) ? path : path === '' ? name : `${path}.${name}`;
      if (!Array.isArray(target)) note(inner);
      return isPlain(item) ? traced(item, inner, note) : item;
    },
  });

type AnyHandler = (input: object, context: unknown) => Promise<object>;

/** Makes every handler note what it reads, until it is undone. */
export const traceReads = (): { readonly reads: Map<string, Set<string>>; undo(): void } => {
  const reads = new Map<string, Set<string>>();
  const undo: (() => void)[] = [];
  for (const table of [regionActions, cellHandlers] as object[])
    for (const [action, handler] of Object.entries(table) as [string, AnyHandler][]) {
      const seen = reads.get(action) ?? new Set<string>();
      reads.set(action, seen);
      const note = (path: string): void => {
        if (!seen.has(path) && (bound.has(path) || !wholeReads.test(new Error('read').stack ?? '')))
          seen.add(path);
      };
      const tracing: AnyHandler = (input, context) => handler(traced(input, '', note), context);
      Reflect.set(table, action, tracing);
      undo.push(() => void Reflect.set(table, action, handler));
    }
  return { reads, undo: () => undo.forEach((step) => void step()) };
};
