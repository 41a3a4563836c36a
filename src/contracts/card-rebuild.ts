/** What a card answers its own agent while the host is rebuilt (S5.2); nobody else may ask it. Every call may be repeated. */
import { z } from 'zod';

const empty = z.object({});

/** Characters of one test pattern. */
export const loopCharsMax = 64 * 1024;

export const cardRebuildContract = {
  /**
   * Shuts the underlay off, or opens it again: nothing comes in, nothing goes out, whatever VPCs and ports say. It stays so over
   * restarts of the card. `on` absent: only told. The answer is what the kernel says.
   */
  'card.isolate': {
    params: z.object({ on: z.boolean().optional() }),
    result: z.object({ isolated: z.boolean() }),
  },
  /** Gives back what it was sent, and tells how its device towards the underlay is. */
  'card.loop': {
    params: z.object({ data: z.string().max(loopCharsMax) }),
    result: z.object({
      data: z.string(),
      underlay: z.object({ up: z.boolean(), errors: z.number().int().nonnegative() }),
    }),
  },
  /**
   * Removes every VPC, with its namespace and its record, which is overwritten and read back. Errors: `Conflict` while a port is
   * attached or a tap of a VM is in a namespace. `left`: what could not be removed, for people.
   */
  'card.scrub': {
    params: empty,
    result: z.object({ vpcs: z.number().int(), left: z.array(z.string()) }),
  },
  /** Begins anew, right after the answer: its supervisor starts it again. */
  'card.restart': { params: empty, result: empty },
} as const;
