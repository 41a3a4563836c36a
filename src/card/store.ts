/** What a device remembers across restarts: one file per VPC, replaced atomically. */
import { mkdir, readdir, readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { z } from 'zod';
import { writeAtomically } from '#base/writeAtomically.ts';
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
      arriving: z.boolean().optional(),
      redirect: z.object({ ip: z.string(), port: z.number() }).optional(),
    }),
  ),
  forwards: z.array(z.tuple([z.string(), z.string()])),
  metadata: z.array(z.tuple([z.string(), vmMetadata])),
});
export type VpcRecord = z.infer<typeof vpcRecord>;

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
