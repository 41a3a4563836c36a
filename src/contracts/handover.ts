/** What the agent of a migration's target asks of the source's agent, whether or not their cell can be reached. */
import { z } from 'zod';

export const handoverContract = {
  /**
   * Whether the VMM here has given the guest to the one that waits at `memoryUri`, for good: once true it stays true, and the guest
   * never runs here again (I1). Answers as soon as it is true, after `waitMs` at most.
   */
  'handover.ask': {
    params: z.object({
      instanceId: z.string(),
      memoryUri: z.string(),
      waitMs: z.number().int().nonnegative().max(10_000),
    }),
    result: z.object({ handedOver: z.boolean() }),
  },
} as const;
