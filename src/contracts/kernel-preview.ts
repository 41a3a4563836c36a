/** What a transaction would change in a device's kernel (S8.2), in the words of the kernel's own tools. */
import { z } from 'zod';

/** How long a device may take to say it. */
export const previewTimeoutMs = 5_000;

/** Namespaces that are named, of those with one difference. */
export const namespacesNamedMax = 8;
/** Lines of one difference. */
export const kernelLinesMax = 200;
/** A line that is longer is cut. */
export const kernelLineCharsMax = 300;
/** Different differences of one device. */
export const kernelDifferencesMax = 32;

/** What is different in some namespaces of a device, the same in each of them. */
export const kernelDifference = z.object({
  /** Of these VPCs, `namespacesNamedMax` at most; empty: the device's own namespace. */
  vpcIds: z.array(z.string()),
  /** How many namespaces there are, with those that are not named. */
  namespaces: z.number().int().min(1),
  /** `- ip link vx0 mtu 1450` goes, `+ ip link vx0 mtu 1400` comes. First what goes, in each kind. */
  lines: z.array(z.string()),
  /** Lines that are left out. */
  more: z.number().int().nonnegative(),
});
export type KernelDifference = z.infer<typeof kernelDifference>;

/** The most frequent difference first. `more`: namespaces whose differences are left out. Nothing would change: no differences. */
export const kernelPreview = z.object({
  differences: z.array(kernelDifference),
  more: z.number().int().nonnegative(),
});
export type KernelPreview = z.infer<typeof kernelPreview>;
