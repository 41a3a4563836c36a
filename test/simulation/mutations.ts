/**
 * Deliberate faults in production code, one rule broken by each. `node bench/simulate.ts --break NAME` runs with one and succeeds when a seed
 * finds it, `--mutations` with all of them in turn; `mutations.test.ts` sees that each still names a place in the code, and
 * `seeds.test.ts` finds those that are in statements.
 */
import { registerHooks } from 'node:module';
import type { FaultKind } from './faults.ts';
import type { simulate } from './simulate.ts';

export interface Mutation {
  readonly name: string;
  /** The rule that is broken. */
  readonly rule: string;
  /** From the root of the repository. */
  readonly file: string;
  readonly find: string;
  readonly replace: string;
  /** What is broken is the text of a statement, and can be broken on its way to the store: {@link rewriteOf}. */
  readonly isStatement?: true;
  /** The run that finds it: beside its seed, what differs from the sizes of `seeds.test.ts`. */
  readonly foundBy?: FindingRun;
}

export interface FindingRun {
  readonly seed: number;
  readonly seconds?: number;
  readonly every?: number;
  readonly clients?: number;
  readonly faults?: readonly FaultKind[];
}

/** What `simulate` is told of it. */
export const runOf = ({ seconds, every, clients, faults }: FindingRun) => ({
  ...(clients === undefined ? {} : { clients }),
  ...(seconds === undefined ? {} : { workMs: seconds * 1_000 }),
  ...(every === undefined ? {} : { faultEveryMs: every * 1_000 }),
  ...(faults === undefined ? {} : { faults }),
});

/** The fault in a statement that is on its way to a store. */
export const rewriteOf =
  ({ find, replace }: Mutation) =>
  (sql: string): string =>
    sql.replaceAll(find, replace);

export const mutations: readonly Mutation[] = [
  {
    name: 'counters',
    rule: 'what a claim gives back is taken off the counters (I3)',
    file: 'src/cell/store/claims.ts',
    find: 'used_memory_mib = greatest(0, used_memory_mib - ',
    replace: 'used_memory_mib = greatest(0, used_memory_mib - 0 * ',
    isStatement: true,
    foundBy: { seed: 1 },
  },
  {
    name: 'claims',
    rule: 'a claim is made only where there is room (I3)',
    file: 'src/cell/store/claims.ts',
    find: "fits('asked')",
    replace: "'true'",
    foundBy: { seed: 1, clients: 10, seconds: 4, faults: [] },
  },
  {
    name: 'token',
    rule: 'a cell carries a client token out once (I4)',
    file: 'src/cell/store/client-tokens.ts',
    find: 'return row?.reservation_id;',
    replace: 'return undefined;',
    foundBy: { seed: 2 },
  },
  {
    name: 'token-cell',
    rule: 'one cell alone carries a client token out (I4)',
    file: 'src/region/launch-tokens.ts',
    find: 'where launch_token.cell_id = $3',
    replace: 'where $3::text is not null',
    isStatement: true,
    foundBy: { seed: 2, clients: 6, seconds: 10, every: 0.8, faults: ['blind'] },
  },
  {
    name: 'fence',
    rule: 'a host refuses a command of a lower generation',
    file: 'src/contracts/fences.ts',
    find: 'if (generation < known.generation)\n    throw',
    replace:
      'if (generation < known.generation) return known;\n  if (generation < known.generation)\n    throw',
    foundBy: { seed: 817, clients: 14, seconds: 8, every: 1, faults: ['cut', 'weather'] },
  },
  {
    name: 'destroy',
    rule: 'an instance is terminated when its VM is gone (I1)',
    file: 'src/cell/workflows/terminate.ts',
    find: 'return destroyOrLeave(context, hostId);',
    replace: 'return { destroyed: true };',
    foundBy: { seed: 1 },
  },
  {
    name: 'interface',
    rule: 'a terminated instance leaves no interface',
    file: 'src/cell/workflows/terminate.ts',
    find: "await services.region.call('region.releaseInterface', { instanceId: subject });",
    replace: '',
    foundBy: { seed: 1 },
  },
  {
    name: 'stop-released',
    rule: 'a stop ends although the interface was released by a termination that the store forgot',
    file: 'src/cell/workflows/steps/network.ts',
    find: 'if (isReleased(error)) return undefined;',
    replace: '',
    foundBy: {
      ...{ seed: 7, clients: 14, seconds: 8, every: 1.5 },
      faults: ['freeze', 'cut', 'isolate', 'weather', 'rewind'],
    },
  },
  {
    name: 'hold',
    rule: 'what is held for a client stays held until its time is over (I9)',
    file: 'src/cell/store/capacity-requests.ts',
    find: `capacity_offers where state in ('open', 'accumulating') and expires_ms <= $1`,
    replace: `capacity_offers where state in ('open', 'accumulating') and expires_ms - 6000 <= $1`,
    isStatement: true,
    foundBy: { seed: 7, clients: 6, seconds: 5 },
  },
  {
    name: 'take-over',
    rule: 'who has lost a workflow writes nothing more',
    file: 'src/cell/store/workflows.ts',
    find: 'id = $1 and owner = $2 and epoch = $3 and',
    replace: 'id = $1 and $2::text is not null and $3::bigint is not null and',
    isStatement: true,
    foundBy: { seed: 13, clients: 8, seconds: 8, every: 0.8, faults: ['freeze'] },
  },
];

const root = new URL('../../', import.meta.url).href;

/** What a file's text is with the fault in it, wherever that place is. @throws RangeError where it is not there */
export const mutated = ({ name, file, find, replace }: Mutation, text: string): string => {
  if (!text.includes(find)) throw new RangeError(`${name}: its place in ${file} is not there`);
  return text.replaceAll(find, replace);
};

/** Of the modules that are loaded a second time for a mutation, and of all that they import. */
const query = '?broken=';
const brokenIn = (url = ''): string | undefined => url.split(query)[1];
const isOwn = (url: string): boolean => url.startsWith(root) && !url.includes('/node_modules/');
let hooked = false;

const hook = (): void => {
  if (hooked) return;
  hooked = true;
  registerHooks({
    resolve: (specifier, context, next) => {
      const found = next(specifier, context);
      const broken = brokenIn(context.parentURL);
      return broken === undefined || !isOwn(found.url)
        ? found
        : { ...found, url: `${found.url}${query}${broken}` };
    },
    load: (url, context, next) => {
      const loaded = next(url, context);
      const [file] = url.split(query);
      const mutation = mutations.find(({ name }) => name === brokenIn(url));
      if (mutation === undefined || file !== new URL(mutation.file, root).href) return loaded;
      return { ...loaded, source: mutated(mutation, String(loaded.source)) };
    },
  });
};

/** The simulator, and all of the production code that it runs, with the fault in it: beside those without. */
export const simulatorWith = async ({ name }: Mutation): Promise<typeof simulate> => {
  hook();
  const broken: typeof import('./simulate.ts') = await import(`./simulate.ts${query}${name}`);
  return broken.simulate;
};
