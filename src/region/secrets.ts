/** Seals access keys' secrets at rest: AES-256-GCM under a key that lies outside the database. */
import { createCipheriv, createDecipheriv, createHmac, randomBytes } from 'node:crypto';
import { readFile, writeFile } from 'node:fs/promises';

const keyBytes = 32;
const nonceBytes = 12;
const tagBytes = 16;

export interface Sealer {
  /** `context` (the access key's id) is authenticated: a sealed secret cannot be moved to another row. */
  seal(secret: string, context: string): Buffer;
  open(sealed: Buffer, context: string): string;
  /** Another secret for another purpose, the same at every start. */
  derive(purpose: string): string;
}

/** A sealer under the key in `file`, which is made if it is absent. */
export const loadSealer = async (file: string): Promise<Sealer> => {
  // Exclusive create: of two that start at once, the second reads the first's key.
  await writeFile(file, randomBytes(keyBytes), { flag: 'wx', mode: 0o600 }).catch(
    (error: NodeJS.ErrnoException) => {
      if (error.code !== 'EEXIST') throw error;
    },
  );
  const key = await readFile(file);
  if (key.length !== keyBytes) throw new Error(`${file} must hold ${keyBytes} bytes, not ${key.length}`);
  return {
    seal(secret, context) {
      const nonce = randomBytes(nonceBytes);
      const cipher = createCipheriv('aes-256-gcm', key, nonce).setAAD(Buffer.from(context));
      const body = Buffer.concat([cipher.update(secret, 'utf8'), cipher.final()]);
      return Buffer.concat([nonce, cipher.getAuthTag(), body]);
    },
    open(sealed, context) {
      const decipher = createDecipheriv('aes-256-gcm', key, sealed.subarray(0, nonceBytes))
        .setAAD(Buffer.from(context))
        .setAuthTag(sealed.subarray(nonceBytes, nonceBytes + tagBytes));
      return (
        decipher.update(sealed.subarray(nonceBytes + tagBytes), undefined, 'utf8') + decipher.final('utf8')
      );
    },
    derive: (purpose) => createHmac('sha256', key).update(purpose).digest('base64url'),
  };
};
