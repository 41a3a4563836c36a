/** The keys under which session tokens are signed. */
import { createHmac, randomBytes } from 'node:crypto';
import { mkdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { writeAtomically } from '#base/writeAtomically.ts';

const keyBytes = 32;
const bootIdPath = '/proc/sys/kernel/random/boot_id';

/** The key of the card whose state lies in `stateDir`, in this boot of the machine; made on the first start. */
export const loadTokenKey = async (stateDir: string): Promise<Buffer> => {
  const path = join(stateDir, 'metadata-token-key');
  const known = await readFile(path, 'utf8').catch(() => undefined);
  const key = known === undefined ? randomBytes(keyBytes) : Buffer.from(known, 'hex');
  if (known === undefined) {
    await mkdir(stateDir, { recursive: true });
    await writeAtomically(path, key.toString('hex'));
  }
  return derived(key, await readFile(bootIdPath, 'utf8'));
};

/** Of one VPC: who has it can make no token of another. */
export const tokenKeyOf = (cardKey: Buffer, vpcId: string): Buffer => derived(cardKey, vpcId);

const derived = (key: Buffer, of: string): Buffer => createHmac('sha256', key).update(of).digest();
