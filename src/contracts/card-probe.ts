/**
 * Health by measurement (S8.3): a card puts a guest of its own into a VPC that is nobody's, behind a tap and under the installation's
 * settings like any other, and measures from there. Tenants' namespaces are not touched.
 */
import { z } from 'zod';

/** The VPC of the cards' own guests: never told by a region, never shown among a device's. */
export const probeVpcId = 'probe';
/** Below those that a region gives out. */
export const probeVni = 4_095;
/** Of a call, with the laying of the guest. */
export const probeTimeoutMs = 30_000;
export const probeAnswerMs = 1_500;
export const probeMembersMax = 64;
export const probeTargetsMax = 16;

/** A card with a guest: its end of the tunnels, and the guest's address (no two the same). */
export const probeMember = z.object({ vtep: z.ipv4(), ip: z.ipv4() });
export type ProbeMember = z.infer<typeof probeMember>;

/** What a card measures by itself. */
export const probeCheck = z.enum(['overlay', 'metadata', 'tcp', 'counters']);

export const probeRequest = z.object({
  /** All that take part, the asked card too. The first request of a card lays its guest; it goes when nobody has asked for a minute. */
  members: z.array(probeMember).min(1).max(probeMembersMax),
  /** Of the overlay, in bytes: what a guest would be told. */
  mtu: z.number().int().min(576).max(9_216),
  /** Addresses of members that are measured from here. */
  targets: z.array(z.ipv4()).max(probeTargetsMax),
  checks: z.array(probeCheck).max(8),
  /** How long one answer may take; absent: `probeAnswerMs`. */
  timeoutMs: z.number().int().min(100).max(10_000).optional(),
});
export type ProbeRequest = z.infer<typeof probeRequest>;

/** One try: how long it took, or why it failed. */
const attempt = z.object({
  ok: z.boolean(),
  ms: z.number().nonnegative(),
  detail: z.string().max(200).optional(),
});

export const probeMeasurement = z.object({
  peers: z
    .array(
      z.object({
        ip: z.ipv4(),
        /** Datagrams there and back. */
        sent: z.number().int().nonnegative(),
        received: z.number().int().nonnegative(),
        /** The median of those that came back. */
        latencyMs: z.number().nonnegative().optional(),
        /** A stream of full-size segments, there and back. */
        tcp: attempt.optional(),
      }),
    )
    .max(probeTargetsMax),
  /** The metadata service answered the guest. */
  metadata: attempt.optional(),
});
export type ProbeMeasurement = z.infer<typeof probeMeasurement>;

/** `counters`: of all the card's devices, since they are there. */
export const probeReport = probeMeasurement.extend({
  counters: z.object({ packets: z.number().nonnegative(), dropped: z.number().nonnegative() }).optional(),
});
export type ProbeReport = z.infer<typeof probeReport>;
