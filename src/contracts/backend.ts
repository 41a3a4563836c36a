/** Router → region and router → cell: one EC2 action, already authenticated and decoded. */
import { z } from 'zod';

export const backendContract = {
  'ec2.call': {
    params: z.object({
      requestId: z.string(),
      accountId: z.string(),
      /** arn of the caller. */
      principal: z.string(),
      /** With which the call was signed. Absent: a router of the last release. */
      accessKeyId: z.string().max(128).optional(),
      action: z.string(),
      /** Input as JSON (timestamps ISO 8601, blobs base64); revive with `reviveInput` of wire. */
      input: z.unknown(),
      /** Of a launch alone: the offer of capacity that it claims. */
      offerId: z.string().max(64).optional(),
    }),
    result: z.object({ output: z.unknown() }),
  },
  'process.health': {
    params: z.object({}),
    result: z.object({
      name: z.string(),
      ready: z.boolean(),
      detail: z.string().optional(),
      /** Of a cell: a limit nears, the next cell is due (S3.7). */
      nearlyFull: z.boolean().optional(),
    }),
  },
} as const;
