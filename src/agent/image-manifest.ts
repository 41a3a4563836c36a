/** An image's manifest, and the digest that names the image: SHA-256 over the canonical JSON of everything else in it. */
import { createHash } from 'node:crypto';
import { z } from 'zod';
import { PandoError } from '#contracts/errors.ts';

/** A plain file name: what a manifest names must stay inside the image's directory. */
const fileName = z.string().regex(/^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$/);
const sha256 = z.string().regex(/^[0-9a-f]{64}$/);

const imageFile = z.looseObject({ path: fileName, sha256, bytes: z.number().int().nonnegative() });
export type ImageFile = z.infer<typeof imageFile>;

export const imageManifest = z.looseObject({
  name: z.string(),
  bootMode: z.enum(['direct-kernel', 'bios']),
  files: z.object({
    disk: imageFile.extend({ virtualBytes: z.number().int().positive(), format: z.enum(['qcow2', 'raw']) }),
    kernel: imageFile.optional(),
    initrd: imageFile.optional(),
  }),
  cmdline: z.string().optional(),
  minMemoryMib: z.number().int(),
  digest: sha256,
});
export type ImageManifest = z.infer<typeof imageManifest>;

/** JSON with the members of every object in order: the same value always gives the same text. */
const canonical = (value: unknown): string => {
  if (Array.isArray(value)) return `[${value.map(canonical).join(',')}]`;
  if (value === null || typeof value !== 'object') return JSON.stringify(value);
  const members = Object.entries(value)
    .filter(([, member]) => member !== undefined)
    .sort(([a], [b]) => (a < b ? -1 : 1));
  return `{${members.map(([name, member]) => `${JSON.stringify(name)}:${canonical(member)}`).join(',')}}`;
};

export const manifestDigest = (manifest: object): string => {
  const { digest: _, ...rest } = { digest: '', ...manifest };
  return createHash('sha256').update(canonical(rest)).digest('hex');
};

/** Parses a manifest that must carry `digest`; anything else is refused: what the network says is not trusted, its digest is. */
export const parseManifest = (text: string, digest: string): ImageManifest => {
  const value: unknown = JSON.parse(text);
  const manifest = imageManifest.parse(value);
  if (
    manifest.digest !== digest ||
    typeof value !== 'object' ||
    value === null ||
    manifestDigest(value) !== digest
  )
    throw new PandoError(
      'InvalidAMIID.Unavailable',
      `The image's manifest does not have the digest ${digest}.`,
    );
  return manifest;
};
