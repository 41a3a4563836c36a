/**
 * What a device remembers across restarts of its process: one file per VPC, replaced as a whole. A power cut takes all that it tells of
 * along (namespaces, taps, VMs), so nobody waits for the disk, and a file that a cut has torn is put aside.
 */
import { mkdir, readdir, readFile, rename } from 'node:fs/promises';
import { join } from 'node:path';
import { z } from 'zod';
import type { Logger } from '#base/log.ts';
import { keyOf, type ObjectVersions } from '#base/network/objects.ts';
import { changeParts, noParts, partsOf, stateOf, type VpcParts } from '#base/network/parts.ts';
import { wipe } from '#base/wipe.ts';
import { keptPaths, writeKept } from '#base/writeAtomically.ts';
import { vmMetadata, vpcPort, vpcState } from '#contracts/network.ts';
import { type NetworkObject, networkObject, objectKind, placesDelta } from '#contracts/network-objects.ts';

const endpoint = z.object({ ip: z.string(), port: z.number() });

const partsRecord = z.object({
  objects: z.array(
    z.object({
      kind: objectKind,
      id: z.string(),
      /** Without its body where the whole document has it. */
      current: networkObject.optional(),
      previous: networkObject.optional(),
    }),
  ),
  /** Where there is no whole document. */
  places: placesDelta.optional(),
});

const storedVpc = z.object({
  vpcId: z.string(),
  /** Written for the last release too: a card may go back to it. */
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
  const whole = state === undefined ? undefined : partsOf(state);
  if (parts === undefined) return whole ?? noParts(vpcId);
  const objects = new Map(
    parts.objects.map(({ kind, id, current: stored, previous }): [string, ObjectVersions] => {
      const key = keyOf({ kind, id });
      const read = whole?.objects.get(key)?.current;
      const current =
        read !== undefined && stored !== undefined ? { ...read, version: stored.version } : stored;
      return [key, { kind, id, current, previous }];
    }),
  );
  const deltas = parts.places === undefined ? [] : [parts.places];
  return { vpcId, objects, places: whole?.places ?? changeParts(noParts(vpcId), [], deltas).places };
};

/** The whole document is what the last release reads, and writes without the parts. */
const writeParts = (parts: VpcParts): Pick<StoredVpc, 'state' | 'parts'> => {
  const { vpcId, objects, places } = parts;
  const state = stateOf(parts);
  if (objects.size === 0 && places.version === 0) return {};
  if (state === undefined)
    return {
      parts: {
        objects: [...objects.values()],
        ...(places.version === 0 ? {} : { places: places.since(vpcId, undefined) }),
      },
    };
  const withoutBody = (object: NetworkObject | undefined) => object && { ...object, body: null };
  return {
    state,
    parts: {
      objects: [...objects.values()].map((each) => ({ ...each, current: withoutBody(each.current) })),
    },
  };
};

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

  save({ parts, ...record }: VpcRecord): Promise<void> {
    const ports = record.ports.map(({ preparedRedirect: aim, ...port }) => ({ ...port, aim }));
    const declared = writeParts(parts);
    return writeKept(this.#path(record.vpcId), JSON.stringify({ ...record, ...declared, ports }));
  }

  /** Overwritten first: user data is in it, and what guests are told about themselves. */
  async remove(vpcId: string): Promise<void> {
    for (const path of keptPaths(this.#path(vpcId))) await wipe(path);
  }

  #path(vpcId: string): string {
    return join(this.#directory, `${vpcId}.json`);
  }
}
