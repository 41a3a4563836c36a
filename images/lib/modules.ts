import { readdir, readFile } from 'node:fs/promises';
import { basename, join } from 'node:path';

/** A kernel module to load, with its bytes. */
export interface Module {
  name: string;
  data: Buffer;
}

/**
 * The modules `wanted` and all that they need, each after what it needs: insert them in this order.
 * The dependencies are read from the modules themselves, so no `depmod` has to have run. A wanted name that is
 * not a module is taken to be built in.
 */
export async function moduleClosure(modulesDir: string, wanted: readonly string[]): Promise<Module[]> {
  const paths = new Map<string, string>();
  for (const file of await readdir(modulesDir, { recursive: true })) {
    if (file.endsWith('.ko')) paths.set(canonical(basename(file, '.ko')), join(modulesDir, file));
  }
  const ordered = new Map<string, Module>();
  const visit = async (name: string): Promise<void> => {
    const path = paths.get(name);
    if (path === undefined || ordered.has(name)) return;
    const data = await readFile(path);
    for (const needed of dependsOf(data)) await visit(canonical(needed));
    ordered.set(name, { name, data });
  };
  for (const name of wanted) await visit(canonical(name));
  return [...ordered.values()];
}

/** The `depends=` string of a module's `.modinfo` section. */
export function dependsOf(module: Buffer): string[] {
  const at = module.indexOf('\0depends=', 0, 'latin1');
  if (at < 0) return [];
  const from = at + '\0depends='.length;
  const list = module.toString('latin1', from, module.indexOf(0, from));
  return list === '' ? [] : list.split(',');
}

/** The kernel takes `-` and `_` in module names for the same letter. */
function canonical(name: string): string {
  return name.replaceAll('-', '_');
}
