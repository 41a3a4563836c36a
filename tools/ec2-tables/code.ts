/** The code that a handler reaches, found in the sources: its declarations, and those that they name, across files. */
import { existsSync, globSync, readFileSync } from 'node:fs';
import { stripTypeScriptTypes } from 'node:module';
import { dirname, join, normalize } from 'node:path';
import { type AnyNode, type Node, parse } from 'acorn';

const home = join(import.meta.dirname, '../..');

interface Import {
  readonly file: string;
  readonly name: string;
}

/** One source file: what it declares at its top, and where its imports come from. */
interface Source {
  readonly declarations: ReadonlyMap<string, AnyNode>;
  readonly imports: ReadonlyMap<string, Import>;
}

/** A piece of code and the file that its names are looked up in. */
export interface Code {
  readonly file: string;
  readonly node: AnyNode;
}

const sources = new Map<string, Source>();

const fileOf = (importer: string, specifier: string): string | undefined => {
  if (specifier.startsWith('#')) return join('src', specifier.slice(1));
  return specifier.startsWith('.') ? normalize(join(dirname(importer), specifier)) : undefined;
};

const readSource = (file: string): Source => {
  const known = sources.get(file);
  if (known !== undefined) return known;
  const declarations = new Map<string, AnyNode>();
  const imports = new Map<string, Import>();
  const made: Source = { declarations, imports };
  sources.set(file, made);
  if (!existsSync(join(home, file))) return made;
  const text = stripTypeScriptTypes(readFileSync(join(home, file), 'utf8'));
  const { body } = parse(text, { ecmaVersion: 'latest', sourceType: 'module' });
  for (const statement of body) {
    if (statement.type === 'ImportDeclaration' || statement.type === 'ExportNamedDeclaration') {
      const from = fileOf(file, String(statement.source?.value ?? ''));
      for (const one of statement.specifiers)
        if (from !== undefined && one.type === 'ImportSpecifier')
          imports.set(one.local.name, { file: from, name: nameOf(one.imported) });
        else if (from !== undefined && one.type === 'ExportSpecifier')
          imports.set(nameOf(one.exported), { file: from, name: nameOf(one.local) });
    }
    const declaration = statement.type === 'ExportNamedDeclaration' ? statement.declaration : statement;
    if (declaration?.type === 'FunctionDeclaration' || declaration?.type === 'ClassDeclaration')
      declarations.set(declaration.id?.name ?? '', declaration);
    if (declaration?.type === 'VariableDeclaration')
      for (const { id, init } of declaration.declarations)
        if (id.type === 'Identifier' && init) declarations.set(id.name, init);
  }
  return made;
};

const nameOf = (node: AnyNode): string =>
  node.type === 'Identifier' ? node.name : node.type === 'Literal' ? String(node.value) : '';

const isNode = (value: unknown): value is AnyNode =>
  typeof value === 'object' && value !== null && typeof Reflect.get(value, 'type') === 'string';

/** Every node of a tree, the root first. */
export function* nodesOf(root: Node): Generator<AnyNode> {
  if (!isNode(root)) return;
  yield root;
  for (const value of Object.values(root))
    for (const child of Array.isArray(value) ? value : [value]) if (isNode(child)) yield* nodesOf(child);
}

/** What a name means in a file, wherever it is declared. */
export const declarationOf = (file: string, name: string, depth = 0): Code | undefined => {
  const { declarations, imports } = readSource(file);
  const node = declarations.get(name);
  if (node !== undefined) return { file, node };
  const from = imports.get(name);
  return from === undefined || depth > 8 ? undefined : declarationOf(from.file, from.name, depth + 1);
};

/** The code itself and all that it names, each once. */
export const reachedFrom = (start: Code): readonly Code[] => {
  const reached = [start];
  const seen = new Set<AnyNode>([start.node]);
  for (const { file, node } of reached)
    for (const inner of nodesOf(node)) {
      if (inner.type !== 'Identifier') continue;
      const found = declarationOf(file, inner.name);
      if (found === undefined || seen.has(found.node)) continue;
      seen.add(found.node);
      reached.push(found);
    }
  return reached;
};

/** The handlers of a folder's files: members of the constants whose names end in `Handlers` or `Actions`. */
export const handlersIn = (pattern: string): ReadonlyMap<string, Code> => {
  const found = new Map<string, Code>();
  for (const file of globSync(pattern, { cwd: home }).sort())
    for (const [name, node] of readSource(file).declarations) {
      if (!/(Handlers|Actions)$/.test(name) || node.type !== 'ObjectExpression') continue;
      for (const property of node.properties) {
        if (property.type !== 'Property' || property.computed) continue;
        const value = property.value;
        const declared = value.type === 'Identifier' ? declarationOf(file, value.name) : undefined;
        found.set(nameOf(property.key), declared ?? { file, node: value });
      }
    }
  return found;
};
