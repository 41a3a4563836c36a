/**
 * What a device remembers across restarts of its process: one file per VPC, replaced as a whole. A power cut takes all that it tells of
 * along (namespaces, taps, VMs), so nobody waits for the disk, and a file that a cut has torn is put aside.
 */
import { mkdir, readdir, readFile, rename } from 'node:fs/promises';
import { join } from 'node:path';
import { z } from 'zod';
import type { Logger } from '#base/log.ts';
import { wipe } from '#base/wipe.ts';
import { keptPaths, writeKept } from '#base/writeAtomically.ts';
import { vmMetadata, vpcPort, vpcState } from '#contracts/network.ts';

const endpoint = z.object({ ip: z.string(), port: z.number() });

export const vpcRecord = z.object({
  vpcId: z.string(),
  state: vpcState.optional(),
  ports: z.array(
    z
      .object({
        tap: z.string(),
        wired: z.boolean(),
        port: vpcPort,
        active: z.boolean(),
        arriving: z.boolean().optional(),
        // The last release reads and writes it under this name.
        aim: endpoint.optional(),
        redirect: endpoint.optional(),
        redirectLapseMs: z.number().optional(),
      })
      .transform(({ aim, ...port }) => ({ ...port, ...(aim && { preparedRedirect: aim }) })),
  ),
  forwards: z.array(z.tuple([z.string(), z.string()])),
  metadata: z.array(z.tuple([z.string(), vmMetadata])),
});
export type VpcRecord = z.infer<typeof vpcRecord>;

export class VpcStore {
  readonly #directory: string;
  readonly #log: Logger;

  constructor(stateDir: string, log: Logger) {
    this.#log = log;
    this.#directory = join(stateDir, 'vpcs');
  }

  async load(): Promise<VpcRecord[]> {
    await mkdir(this.#directory, { recursive: true });
    const names = (await readdir(this.#directory)).filter((name) => name.endsWith('.json'));
    const records = await Promise.all(names.map((name) => this.#read(join(this.#directory, name))));
    return records.filter((record) => record !== undefined);
  }

  async #read(path: string): Promise<VpcRecord | undefined> {
    const text = await readFile(path, 'utf8');
    try {
      return vpcRecord.parse(JSON.parse(text));
    } catch (error) {
      this.#log.error(
        { err: error, path },
        'a record cannot be read: put aside, its VPC has to be declared again',
      );
      await rename(path, `${path}.unreadable`);
      return undefined;
    }
  }

  save(record: VpcRecord): Promise<void> {
    const ports = record.ports.map(({ preparedRedirect: aim, ...port }) => ({ ...port, aim }));
    return writeKept(this.#path(record.vpcId), JSON.stringify({ ...record, ports }));
  }

  /** Overwritten first: user data is in it, and what guests are told about themselves. */
  async remove(vpcId: string): Promise<void> {
    for (const path of keptPaths(this.#path(vpcId))) await wipe(path);
  }

  #path(vpcId: string): string {
    return join(this.#directory, `${vpcId}.json`);
  }
}
