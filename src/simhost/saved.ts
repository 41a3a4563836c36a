/** What a simulated host writes down of a VM, so that the host goes on after its process has ended. */
import { mkdirSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { z } from 'zod';
import { instanceFence } from '#contracts/fences.ts';
import { imageRef, vmEnded, vmRequirement } from '#contracts/host.ts';
import { vmMetadata, vpcPort } from '#contracts/network.ts';

export const savedVm = z.object({
  instanceId: z.string(),
  state: z.enum(['preparing', 'running', 'stopped', 'failed']),
  fence: instanceFence.optional(),
  requirement: vmRequirement.optional(),
  eniId: z.string().optional(),
  image: imageRef.optional(),
  network: z.object({ vpcId: z.string(), port: vpcPort }).optional(),
  metadata: vmMetadata.optional(),
  hasDisk: z.boolean(),
  reason: z.string().optional(),
  ended: vmEnded.optional(),
  consoleText: z.string(),
});
export type SavedVm = z.infer<typeof savedVm>;

/** Where a host writes its VMs down: before it answers the command that changed one, as a real host does. */
export interface VmStore {
  save(vm: SavedVm): void;
  remove(instanceId: string): void;
  load(): SavedVm[];
}

const suffix = '.json';

/** A file for each VM in `directory`. It is not flushed: what a kill of the process leaves is whole, what a power cut leaves may be old. */
export const vmFiles = (directory: string): VmStore => {
  mkdirSync(directory, { recursive: true, mode: 0o700 });
  const fileOf = (instanceId: string): string => join(directory, `${instanceId}${suffix}`);
  return {
    save: (vm) => {
      const path = fileOf(vm.instanceId);
      writeFileSync(`${path}.new`, JSON.stringify(vm), { mode: 0o600 });
      renameSync(`${path}.new`, path);
    },
    remove: (instanceId) => rmSync(fileOf(instanceId), { force: true }),
    load: () =>
      readdirSync(directory)
        .filter((name) => name.endsWith(suffix))
        .map((name) => savedVm.parse(JSON.parse(readFileSync(join(directory, name), 'utf8')))),
  };
};
