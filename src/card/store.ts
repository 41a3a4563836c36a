/** What a device remembers across restarts: one file per VPC, replaced atomically. */
import { mkdir, open, readdir, readFile, rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { z } from 'zod';
import { vmMetadata, vpcPort, vpcState } from '#contracts/network.ts';

export const vpcRecord = z.object({
  vpcId: z.string(),
  state: vpcState.optional(),
  ports: z.array(
    z.object({
      tap: z.string(),
      wired: z.boolean(),
      port: vpcPort,
      active: z.boolean(),
      redirect: z.object({ ip: z.string(), port: z.number() }).optional(),
    }),
  ),
  forwards: z.array(z.tuple([z.string(), z.string()])),
  metadata: z.array(z.tuple([z.string(), vmMetadata])),
});
export type VpcRecord = z.infer<typeof vpcRecord>;

/** Writes a file so that a crash leaves either the old contents or the new. Readable by its owner alone. */
export const writeAtomically = async (path: string, text: string): Promise<void> => {
  const temporary = `${path}.new`;
  const file = await open(temporary, 'w', 0o600);
  try {
    await file.writeFile(text);
    await file.sync();
  } finally {
    await file.close();
  }
  await rename(temporary, path);
};

export class VpcStore {
  readonly #directory: string;

  constructor(stateDir: string) {
    this.#directory = join(stateDir, 'vpcs');
  }

  async load(): Promise<VpcRecord[]> {
    await mkdir(this.#directory, { recursive: true });
    const names = (await readdir(this.#directory)).filter((name) => name.endsWith('.json'));
    return Promise.all(
      names.map(async (name) =>
        vpcRecord.parse(JSON.parse(await readFile(join(this.#directory, name), 'utf8'))),
      ),
    );
  }

  save(record: VpcRecord): Promise<void> {
    return writeAtomically(this.#path(record.vpcId), JSON.stringify(record));
  }

  remove(vpcId: string): Promise<void> {
    return rm(this.#path(vpcId), { force: true });
  }

  #path(vpcId: string): string {
    return join(this.#directory, `${vpcId}.json`);
  }
}
