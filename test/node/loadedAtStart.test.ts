/** What a process of each role loads before it serves: no code that only rare paths, other roles or tools need. */
import assert from 'node:assert/strict';
import { globSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { z } from 'zod';
import { exec } from '#base/exec.ts';
import { codeDirectory } from '#node/directory.ts';

/** Links the modules that `main` imports, runs none of them, and prints their URLs. */
const linking = `
  import { registerHooks } from 'node:module';
  const urls = [];
  registerHooks({ load: (url, context, next) => (urls.push(url), next(url, context)) });
  const [main, base] = process.argv.slice(1);
  const source = 'import ' + JSON.stringify(main) + '; import { none } from ' + JSON.stringify(base) + ';';
  await import('data:text/javascript,' + encodeURIComponent(source)).catch((error) => {
    if (!(error instanceof SyntaxError && error.message.includes("'none'"))) throw error;
  });
  console.log(JSON.stringify(urls));
`;

/** Packages (by name) and rooms of `src/` (with #) that are loaded with this file of `src/`. */
const loadedWith = async (file: string): Promise<Set<string>> => {
  const url = (path: string): string => new URL(`file://${join(codeDirectory, 'src', path)}`).href;
  const args = ['--disable-warning=ExperimentalWarning', '--input-type=module', '--eval', linking];
  const { stdout } = await exec(process.execPath, [...args, url(file), url('base/monotonic.ts')], {
    cwd: codeDirectory,
    timeoutMs,
  });
  const urls = z.array(z.string()).parse(JSON.parse(stdout));
  const names = urls.flatMap((each) => {
    const found = /\/node_modules\/((?:@[^/]+\/)?[^/]+)\//.exec(each) ?? /\/src\/([a-z]+)\//.exec(each);
    return found?.[1] === undefined ? [] : [each.includes('/node_modules/') ? found[1] : `#${found[1]}`];
  });
  return new Set(names);
};

const timeoutMs = 120_000;
const everywhere = ['#base', '#contracts', 'pino', 'prom-client', 'zod'];
const store = ['kysely', 'pg'];
const certificates = ['@peculiar/x509', 'reflect-metadata'];
/** All that a role's processes may load at their start, besides what all do. What is rarely needed is imported where it is needed. */
const mayLoad: Readonly<Record<string, readonly string[]>> = {
  agent: ['#agent'],
  ca: ['#ca', ...certificates],
  card: ['#card', 'ipaddr.js'],
  cell: ['#cell', '#slots', '#wire', '#reconfiguration', 'ipaddr.js', 'standardwebhooks', ...store],
  gateway: ['#gateway', '#card', 'ipaddr.js'],
  region: [
    ...['#region', '#rollout', '#wire', 'ipaddr.js', ...store, ...certificates],
    ...['@peculiar/asn1-cms', '@peculiar/asn1-schema', '@peculiar/asn1-x509'],
  ],
  router: ['#router', '#wire'],
  webhooks: ['#webhooks', 'ipaddr.js'],
};

for (const [role, own] of Object.entries(mayLoad))
  test(`a process of the role ${role} loads at its start what it may, and gives back what that left`, async () => {
    const file = `${role}/main.ts`;
    const loaded = await loadedWith(file);
    assert.ok(loaded.has(`#${role}`), 'what is loaded was seen');
    const allowed = new Set([...everywhere, ...own]);
    assert.deepEqual(
      [...loaded].filter((name) => !allowed.has(name)),
      [],
      `import() where it is needed, or add to the list what every ${role} always needs`,
    );
    const main = readFileSync(join(codeDirectory, 'src', file), 'utf8');
    const [first] = /\n(giveBackLoadingMemory|const config)\b/.exec(main)?.slice(1) ?? [];
    assert.equal(first, 'giveBackLoadingMemory', 'before anybody is served');
  });

test('every role has its list', () => {
  const tools = ['cli', 'simulated'];
  const roles = globSync('*/main.ts', { cwd: join(codeDirectory, 'src') }).map((path) => path.split('/')[0]);
  assert.deepEqual(roles.filter((role) => !tools.includes(role ?? '')).sort(), Object.keys(mayLoad).sort());
});
