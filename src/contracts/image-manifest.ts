/**
 * An image's manifest, for those who build, keep and run images alike: what registers can also be launched. The digest that names an
 * image is the SHA-256 over the canonical JSON of everything else in its manifest, unknown members included.
 */
import { createHash } from 'node:crypto';
import { z } from 'zod';
import { canonicalJson } from './canonicalJson.ts';
import { PandoError } from './errors.ts';

/** A manifest file that is longer is none. */
export const manifestBytesMax = 1024 * 1024;
/** A plain file name: what a manifest names must stay inside the image's directory. */
const fileName = z.string().regex(/^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$/);
const sha256 = z.string().regex(/^[0-9a-f]{64}$/);

/** One file of an image; `path` is relative to the image's directory. */
const imageFile = z.looseObject({ path: fileName, sha256, bytes: z.number().int().min(1) });
export type ImageFile = z.infer<typeof imageFile>;

export const imageManifest = z.looseObject({
  name: z.string().max(128),
  description: z.string().max(1_024),
  architecture: z.string().max(32),
  bootMode: z.enum(['direct-kernel', 'bios']),
  files: z.object({
    /** `virtualBytes`: the disk's size as the guest sees it. */
    disk: imageFile.extend({ virtualBytes: z.number().int().min(1), format: z.literal('qcow2') }),
    kernel: imageFile.optional(),
    initrd: imageFile.optional(),
  }),
  /** The kernel's command line, where the boot is direct. */
  cmdline: z.string().max(4_096).optional(),
  minMemoryMib: z.number().int().min(1),
  digest: sha256,
});
export type ImageManifest = z.infer<typeof imageManifest>;

/** The digest that a manifest must carry. */
export const manifestDigest = (manifest: object): string => {
  const { digest: _, ...rest } = { digest: '', ...manifest };
  return createHash('sha256').update(canonicalJson(rest)).digest('hex');
};

/**
 * The manifest in `text`. @throws InvalidAMIID.Unavailable where it is not one, its own digest is wrong, or it is not the one of `digest`:
 * what a file or the network says is not trusted, its digest is.
 */
export const parseManifest = (text: string, digest?: string): ImageManifest => {
  const value = jsonOf(text);
  const manifest = imageManifest.safeParse(value);
  if (!manifest.success) {
    const issue = manifest.error.issues[0];
    throw unusable(`The image's manifest is not one: ${issue?.path.join('.')}: ${issue?.message}`);
  }
  const computed = manifestDigest(value as object);
  if (manifest.data.digest !== computed || computed !== (digest ?? computed))
    throw unusable(`The image's manifest does not have the digest ${digest ?? manifest.data.digest}.`);
  return manifest.data;
};

const jsonOf = (text: string): unknown => {
  if (text.length > manifestBytesMax) throw unusable('The image’s manifest is too long.');
  try {
    return JSON.parse(text);
  } catch (cause) {
    throw unusable('The image’s manifest is not JSON.', cause);
  }
};

const unusable = (message: string, cause?: unknown): PandoError =>
  new PandoError('InvalidAMIID.Unavailable', message, { cause });
