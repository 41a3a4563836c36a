/**
 * What a device remembers across restarts of its process: one file per VPC, replaced as a whole. A power cut takes all that it tells of
 * along (namespaces, taps, VMs), so nobody waits for the disk, and a file that a cut has torn is put aside.
 */
import { mkdir, readdir, readFile, rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { z } from 'zod';
import type { Logger } from '#base/log.ts';
import { keyOf } from '#base/network/objects.ts';
import { changeParts, noParts, partsOf, type VpcParts } from '#base/network/parts.ts';
import { writeWhole } from '#base/writeAtomically.ts';
import { vmMetadata, vpcPort, vpcState } from '#contracts/network.ts';
import { networkObject, objectKind, placesDelta } from '#contracts/network-objects.ts';

const endpoint = z.object({ ip: z.string(), port: z.number() });

const partsRecord = z.object({
  objects: z.array(
    z.object({
      kind: objectKind,
      id: z.string(),
      current: networkObject.optional(),
      previous: networkObject.optional(),
    }),
  ),
  places: placesDelta.optional(),
});

const storedVpc = z.object({
  vpcId: z.string(),
  /** As the last release wrote it. */
  state: vpcState.optional(),
  parts: partsRecord.optional(),
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
type StoredVpc = z.infer<typeof storedVpc>;
export type VpcRecord = Omit<StoredVpc, 'state' | 'parts'> & { readonly parts: VpcParts };

const readParts = ({ vpcId, state, parts }: StoredVpc): VpcParts => {
  if (parts === undefined) return state === undefined ? noParts(vpcId) : partsOf(state);
  const { places } = changeParts(noParts(vpcId), [], parts.places === undefined ? [] : [parts.places]);
  const held = parts.objects.map((each) => ({ ...each, current: each.current, previous: each.previous }));
  return { vpcId, places, objects: new Map(held.map((each) => [keyOf(each), each])) };
};

const writeParts = ({ vpcId, objects, places }: VpcParts) => ({
  objects: [...objects.values()],
  // Nothing has been declared: nothing is kept.
  ...(places.version === 0 ? {} : { places: places.since(vpcId, undefined) }),
});

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
      const stored = storedVpc.parse(JSON.parse(text));
      return { ...stored, parts: readParts(stored) };
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
    const parts = writeParts(record.parts);
    return writeWhole(this.#path(record.vpcId), JSON.stringify({ ...record, parts, ports }));
  }

  remove(vpcId: string): Promise<void> {
    return rm(this.#path(vpcId), { force: true });
  }

  #path(vpcId: string): string {
    return join(this.#directory, `${vpcId}.json`);
  }
}
