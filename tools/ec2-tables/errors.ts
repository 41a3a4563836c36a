/** The error codes that a handler's code names. */
import type { AnyNode } from 'acorn';
import { isErrorCode, isInternalCode } from '#contracts/errors.ts';
import { type IdKind, type IdKindRules, idKinds } from '#contracts/idKinds.ts';
import { type Code, nodesOf, reachedFrom } from './code.ts';

const isIdKind = (text: string): text is IdKind => Object.hasOwn(idKinds, text);

/** The codes by which an id of a kind is refused. */
export const codesOfKind = (kind: IdKind): readonly string[] => {
  const { notFound, malformed }: IdKindRules = idKinds[kind];
  return malformed === undefined ? [notFound] : [notFound, malformed];
};

/** Any action may be answered with them: README.md of the tables. */
export const common: ReadonlySet<string> = new Set([
  'DryRunOperation',
  'FilterLimitExceeded',
  'InternalError',
  'Unavailable',
]);

/** Calls whose first argument is a kind of id that may be refused. */
const idReaders = /^(parseId|notFound|findAll)$/;

/** The kind of id that a node of the code reads. */
const kindRead = (node: AnyNode): IdKind | undefined => {
  const named =
    node.type === 'CallExpression' && node.callee.type === 'Identifier' && idReaders.test(node.callee.name)
      ? node.arguments[0]
      : node.type === 'Property' && node.key.type === 'Identifier' && node.key.name === 'kind'
        ? node.value
        : undefined;
  if (named?.type !== 'Literal' || typeof named.value !== 'string') return undefined;
  return isIdKind(named.value) ? named.value : undefined;
};

/** Of the tables that are named whole (all codes, all kinds) nothing is taken. */
const isTable = ({ file }: Code): boolean => /contracts\/(errorCatalogue\w*|idKinds)\.ts$/.test(file);

export const errorsOf = (handler: Code): readonly string[] => {
  const codes = new Set<string>();
  for (const code of reachedFrom(handler)) {
    if (isTable(code)) continue;
    for (const node of nodesOf(code.node)) {
      const kind = kindRead(node);
      if (kind !== undefined) for (const one of codesOfKind(kind)) codes.add(one);
      if (node.type === 'Literal' && typeof node.value === 'string' && isErrorCode(node.value))
        codes.add(node.value);
    }
  }
  return [...codes].filter((code) => isErrorCode(code) && !isInternalCode(code) && !common.has(code)).sort();
};
