/** What the region answers to its operator (`spiffe://pando/operator/<name>`), beside everything else it answers. */
import { z } from 'zod';

export const operatorContract = {
  /** Makes an account with a default VPC. The secret is told here once. A name that is taken: ResourceAlreadyExists. */
  'operator.createAccount': {
    params: z.object({ name: z.string().min(1).max(128) }),
    result: z.object({ accountId: z.string(), accessKeyId: z.string(), secretAccessKey: z.string() }),
  },
  /** Takes in a built image (a directory with `manifest.json`). The same content gives the same id again. */
  'operator.registerImage': {
    params: z.object({ directory: z.string(), name: z.string().min(3).max(128), public: z.literal(true) }),
    result: z.object({ imageId: z.string(), digest: z.string() }),
  },
  'operator.status': {
    params: z.object({}),
    result: z.object({
      region: z.string(),
      accounts: z.number().int(),
      vpcs: z.number().int(),
      interfaces: z.number().int(),
      images: z.number().int(),
      publicAddresses: z.object({ free: z.number().int(), used: z.number().int() }),
      cells: z.array(
        z.object({ cellId: z.string(), number: z.number().int(), processorsConnected: z.number().int() }),
      ),
      gatewayConnected: z.boolean(),
    }),
  },
} as const;
