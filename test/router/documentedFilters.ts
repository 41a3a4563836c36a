/** The filters of EC2's Describe actions, as the SDK's own documentation lists them. */
import { globSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';

const models = path.join(
  path.dirname(fileURLToPath(import.meta.resolve('@aws-sdk/client-ec2/package.json'))),
  'dist-types/models',
);

/** Listed in the same form: the head of `tag:<key>`, and the values of one filter. */
const noFilters: ReadonlySet<string> = new Set(['tag', 'informational', 'low', 'medium', 'high', 'critical']);

/** Without lists inside of the list: the values of a filter, in the form of filters. */
const outerList = (html: string): string => {
  let depth = 0;
  let outer = '';
  for (const part of html.split(/(<\/?ul>)/)) {
    if (part === '<ul>') depth += 1;
    else if (part === '</ul>') depth -= 1;
    else if (depth <= 1) outer += part;
  }
  return outer;
};

let text: string | undefined;

/** Names of the filters that an action's request documents; `tag:<key>` and its like are left out. */
export const documentedFilters = (action: string): readonly string[] => {
  text ??= globSync(path.join(models, 'models_*.d.ts'))
    .map((file) => readFileSync(file, 'utf8'))
    .join('\n');
  const start = text.indexOf(`export interface ${action}Request {`);
  if (start < 0) return [];
  const body = text.slice(start, text.indexOf('\n}', start));
  const member = body.indexOf('    Filters?:');
  if (member < 0) return [];
  const comment = body.slice(body.lastIndexOf('/**', member), member);
  const names = [...outerList(comment).matchAll(/<code>([a-z][a-z0-9.-]+)<\/code>\s*-\s/g)].map(
    ([, name]) => name ?? '',
  );
  return [...new Set(names)].filter((name) => !noFilters.has(name));
};
