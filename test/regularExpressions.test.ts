/**
 * Every regular expression in `src/` is linear in its input, or is listed here with the bound that makes it harmless. A
 * backtracking one that met user data of 150,000 characters once stopped both processors of a cell.
 */
import assert from 'node:assert/strict';
import { globSync, readFileSync } from 'node:fs';
import { stripTypeScriptTypes } from 'node:module';
import { join } from 'node:path';
import { test } from 'node:test';
import { type Token, tokenizer } from 'acorn';
import { isSafe } from 'redos-detector';

const home = join(import.meta.dirname, '..');

/** The analysis' score of an expression: ways to match that it could go back to. What is linear has few. */
const scoreMax = 200;

/** Not linear, and why that does no harm: what it meets is short, or the machine's own. */
const bounded: Readonly<Record<string, string>> = {
  [String(/&(?:#x([0-9a-f]+)|#(\d+)|(\w+));/gi)]: 'an answer of our own router, read by the command line',
  [String(/<([^>]+)>|([^<]+)/g)]: 'an answer of our own router, read by the command line',
  [String(/\n[ \t]*\n/)]: 'the machine’s own list of package sources',
  [String(/^\s*deb\s+(?:\[([^\]]*)\]\s+)?(\S+)\s+(\S+)\s*([^#]*)/)]:
    'a line of the machine’s own list of package sources',
  [String(/src=(\S+) dst=(\S+) sport=(\d+) dport=(\d+)/)]: 'a line of the kernel’s connection tracking',
  [String(/(\S+ \. \S+ \. \S+ \. \S+ \. \S+) timeout \S+ expires (\S+?)(?:,| |$)/gm)]:
    'what nft prints of a set of ours',
  [String(/^(postgres(?:ql)?):\/\/(?:([^@/?#]*)@)?([^/?#]*)(?:\/([^?#]*))?(?:\?([^#]*))?$/)]:
    'the address of a store, from a configuration file',
  [String(/'#([a-z]+)\//g)]: 'Pando’s own source, read at `up`',
  [String(/^([A-Za-z_:][\w:]*)(?:\{(.*)\})? (\S+)$/)]: 'a line of metrics of Pando’s own processes',
  [String(/([A-Za-z_]\w*)="((?:[^"\\]|\\.)*)"/g)]: 'labels of metrics of Pando’s own processes',
  [String(/\{ (.*) timeout /)]: 'what nft prints of a set of ours',
  [String(/src=(\S+) dst=(\S+)/)]: 'a line of the kernel’s connection tracking',
  [String(/\d+ms$/)]: 'a duration that nft prints',
  [String(/^\s*([^\s:]+):\s*(.*)$/)]: 'a line of the kernel’s /proc/net/dev',
  [String(/-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----/g)]:
    'a certificate of a migration, 8,192 characters at most by its contract',
};

interface Found {
  readonly file: string;
  readonly literal: RegExp;
}

const expressionsIn = (file: string): Found[] => {
  const source = stripTypeScriptTypes(readFileSync(join(home, file), 'utf8'));
  const found: Found[] = [];
  for (const token of tokenizer(source, { ecmaVersion: 'latest', sourceType: 'module' })) {
    const { value } = token as Token & { value?: { pattern?: string; flags?: string } };
    if (value instanceof Object && value.pattern !== undefined)
      found.push({ file, literal: new RegExp(value.pattern, value.flags) });
  }
  return found;
};

const isLinear = (expression: RegExp): boolean =>
  isSafe(expression, { maxScore: scoreMax, timeout: Number.POSITIVE_INFINITY }).safe;

test('every regular expression is linear, or listed with its bound', () => {
  const all = globSync('src/**/*.ts', { cwd: home }).flatMap(expressionsIn);
  assert.ok(all.length > 50, `only ${all.length} expressions were found: the search is broken`);
  const unsafe = all.filter(({ literal }) => !isLinear(literal));
  const unlisted = unsafe.filter(({ literal }) => bounded[String(literal)] === undefined);
  assert.deepEqual(
    unlisted.map(({ file, literal }) => `${file}: ${literal}`),
    [],
    'Write it so that it cannot backtrack, or list it with the bound of its input.',
  );
  const seen = new Set(unsafe.map(({ literal }) => String(literal)));
  assert.deepEqual(
    Object.keys(bounded).filter((literal) => !seen.has(literal)),
    [],
    'Listed, but no longer there.',
  );
});

test('the expression that stopped a cell would be found', () => {
  assert.equal(isLinear(/^[A-Za-z0-9+/\s]*={0,2}\s*$/), false);
  assert.equal(isLinear(/^(a+)+$/), false);
});
