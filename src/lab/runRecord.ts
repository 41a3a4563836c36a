/** What a run remembers of itself (`run.json`): decided at the first start, read by every later command. */
import { mkdirSync, readFileSync } from 'node:fs';
import { z } from 'zod';
import { writeAtomicallySync } from '#base/writeAtomically.ts';
import type { RunDirectory } from '#node/directory.ts';
import { simulatedRun } from './simulatedRun.ts';

const externalStore = z.object({ url: z.string(), prefix: z.string() });

/** See `Layout`. */
const layout = z.object({
  cells: z.array(
    z.object({
      number: z.number().int(),
      zone: z.number().int(),
      postgres: externalStore.optional(),
      retired: z.literal(true).optional(),
    }),
  ),
  hosts: z.array(z.object({ number: z.number().int(), cell: z.number().int(), sharers: z.number().int() })),
});

export const runRecord = z.object({
  format: z.literal(1),
  index: z.number().int(),
  cells: z.number().int(),
  hostsPerCell: z.number().int(),
  /** How many zones the cells are dealt out over; absent: each has its own. */
  zones: z.number().int().optional(),
  /** What has become of the cells and hosts that it began with; absent: nothing. */
  layout: layout.optional(),
  /** How many replicas; absent: one. */
  routers: z.number().int().optional(),
  regions: z.number().int().optional(),
  /** How many cells an account launches in, and what a cell takes at most; absent: their defaults. */
  cellsPerAccount: z.number().int().optional(),
  cellLimits: z.object({ hosts: z.number().int().optional(), vms: z.number().int().optional() }).optional(),
  /** What each host has for VMs; an absent part: its default, or its share of the machine. */
  hostCapacity: z
    .object({ vcpus: z.number(), memoryMib: z.number().int(), diskMib: z.number().int() })
    .partial()
    .optional(),
  /** The API's port on 127.0.0.1. */
  port: z.number().int(),
  regionName: z.string(),
  /** A PostgreSQL of somebody else's, and what the names of this run's databases on it begin with; absent: the run has servers of its own. */
  postgres: externalStore.optional(),
  /** Where spans go: an OpenTelemetry collector's endpoint (OTLP over HTTP); absent: nowhere. */
  otlp: z.string().optional(),
  /** Ranges that webhooks are sent to beside public addresses. */
  webhookRanges: z.array(z.string()).optional(),
  /** The user's account and its key, as the region made them; absent until then. */
  account: z.object({ accountId: z.string(), accessKeyId: z.string(), secret: z.string() }).optional(),
  /** It is a simulated region; absent: a real one. */
  simulated: simulatedRun.optional(),
  /** The VM that the first `up` launched. */
  firstVm: z.object({ instanceId: z.string(), publicIp: z.string(), allocationId: z.string() }).optional(),
});
export type RunRecord = z.infer<typeof runRecord>;

export const regionNameDefault = 'pando-1';

/** The run's record, or undefined when `directory` holds none. Throws when it is damaged. */
export function readRun(directory: RunDirectory): RunRecord | undefined {
  let text: string;
  try {
    text = readFileSync(directory.runFile, 'utf8');
  } catch {
    return undefined;
  }
  const parsed = runRecord.safeParse(JSON.parse(text));
  if (!parsed.success)
    throw new Error(`${directory.runFile} is not a run's record: ${z.prettifyError(parsed.error)}`);
  return parsed.data;
}

/** Replaces the record as a whole. */
export function writeRun(directory: RunDirectory, record: RunRecord): void {
  mkdirSync(directory.root, { recursive: true, mode: 0o700 });
  writeAtomicallySync(directory.runFile, `${JSON.stringify(record, null, 2)}\n`);
}

/** The API's address as clients use it. */
export const endpointOf = (record: RunRecord): string => `http://127.0.0.1:${record.port}`;
