/** A process's configuration: a JSON file named by `--config`, checked by its own zod schema. */
import { readFileSync } from 'node:fs';
import { z } from 'zod';

/** Where a process's TLS material lies: paths of PEM files. `cert` and `key` may be one file. */
export const tlsFiles = z.object({
  ca: z.string(),
  cert: z.string(),
  key: z.string(),
  /** Unix socket of the authority that renews the certificate; absent: somebody else replaces the files. */
  authority: z.string().optional(),
});
export type TlsPaths = z.infer<typeof tlsFiles>;

/** Where another process answers. */
export const endpoint = z.object({ host: z.string(), port: z.number().int().min(0).max(65_535) });

/** Reads and checks the file after `--config`; exits with a message that names the field that is wrong. */
export const loadConfig = <T>(schema: z.ZodType<T>, argv: readonly string[] = process.argv): T => {
  const at = argv.indexOf('--config');
  const path = at >= 0 ? argv[at + 1] : undefined;
  if (path === undefined)
    throw new Error('start this process with --config FILE (pando up writes one for each process)');
  const parsed = schema.safeParse(JSON.parse(readFileSync(path, 'utf8')));
  if (!parsed.success) throw new Error(`${path}: ${z.prettifyError(parsed.error)}`);
  return parsed.data;
};

export { loadTls } from './tlsFromFiles.ts';
