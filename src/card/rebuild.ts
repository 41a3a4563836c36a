/** What the agent asks of its card while the host is rebuilt. */
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { z } from 'zod';
import { exec } from '#base/exec.ts';
import type { Handlers } from '#base/rpc/contract.ts';
import { wipe } from '#base/wipe.ts';
import type { cardRebuildContract } from '#contracts/card-rebuild.ts';
import { PandoError } from '#contracts/errors.ts';
import type { Device } from './device.ts';
import type { Isolation } from './isolation.ts';

export interface CardRebuildParts {
  readonly device: Device;
  readonly isolation: Isolation;
  readonly stateDir: string;
  readonly underlayDevice: string;
  /** Ends the process once the answer is sent. */
  restart(): void;
}

const links = z.array(
  z.object({
    flags: z.array(z.string()),
    stats64: z.object({ rx: z.object({ errors: z.number() }), tx: z.object({ errors: z.number() }) }),
  }),
);

/** Asked of the kernel and not of `/sys`, which may be another namespace's. */
const underlayOf = async (device: string): Promise<{ up: boolean; errors: number }> => {
  const { stdout } = await exec('ip', ['-j', '-s', 'link', 'show', 'dev', device]);
  const [link] = links.parse(JSON.parse(stdout));
  const { rx, tx } = link?.stats64 ?? { rx: { errors: 0 }, tx: { errors: 0 } };
  return { up: link?.flags.includes('LOWER_UP') ?? false, errors: rx.errors + tx.errors };
};

/** Removes all VPCs. @throws Conflict where a VM's port or tap is among them: then nothing is touched */
const scrub = async ({ device, stateDir }: CardRebuildParts): Promise<{ vpcs: number; left: string[] }> => {
  const all = [...device.vpcs.values()];
  const used = all.filter(({ ports, hasStrangeTaps }) => ports.size > 0 || hasStrangeTaps);
  if (used.length > 0)
    throw new PandoError(
      'Conflict',
      `${used.map(({ vpcId }) => vpcId).join(', ')} has ports here: nothing is scrubbed.`,
    );
  const left: string[] = [];
  for (const { vpcId } of all)
    await device
      .removeVpc(vpcId)
      .catch((error: unknown) => left.push(`${vpcId}: ${PandoError.from(error).message}`));
  // What is left of records that were torn or replaced.
  const records = join(stateDir, 'vpcs');
  if (left.length === 0) await wipe(records).catch((error: unknown) => left.push(String(error)));
  await mkdir(records, { recursive: true });
  return { vpcs: all.length, left: left.slice(0, 16) };
};

export const cardRebuildHandlers = (parts: CardRebuildParts): Handlers<typeof cardRebuildContract> => ({
  'card.isolate': async ({ on }) => ({
    isolated: on === undefined ? await parts.isolation.isOn() : await parts.isolation.set(on),
  }),
  'card.loop': async ({ data }) => ({ data, underlay: await underlayOf(parts.underlayDevice) }),
  'card.scrub': () => scrub(parts),
  'card.restart': () => {
    parts.restart();
    return {};
  },
});
