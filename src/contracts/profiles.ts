/** Instance profiles: which an instance runs with, and what its credentials may do. */
import { z } from 'zod';

/** `read-only`: actions that only tell (Describe, Get, List). `full`: all of the account's. */
export const profilePolicy = z.enum(['read-only', 'full']);
export type ProfilePolicy = z.infer<typeof profilePolicy>;

/** As a client names one: by one of the two. */
export const profileReference = z.object({
  name: z.string().max(2_048).optional(),
  arn: z.string().max(2_048).optional(),
});
export type ProfileReference = z.infer<typeof profileReference>;

export const profileRecord = z.object({ name: z.string(), arn: z.string(), profileId: z.string() });
