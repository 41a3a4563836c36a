import { setTimeout as delay } from 'node:timers/promises';
import { z } from 'zod';
import { monotonicMs } from '#base/monotonic.ts';
import type { Result } from '#base/rpc/contract.ts';
import type { cellOperatorContract } from '#contracts/cell-operator.ts';
import { PandoError } from '#contracts/errors.ts';
import { type CellCaller, hostIdOf, hostNameOf, instanceOf, withCell } from '../operator.ts';
import { print, progress, seconds, ticking, UserError } from '../output.ts';
import { openRegion } from '../region.ts';

const pollMs = 200;
const timeoutMs = 15 * 60_000;
const ended = ['done', 'undone', 'stuck'];

/** Of the critical phase: how long each of its parts took (S7.6). */
const criticalResult = z.looseObject({
  downtimeMs: z.number(),
  parts: z.array(z.object({ part: z.string(), ms: z.number() })),
  packets: z.looseObject({ forwarded: z.number(), dropped: z.number() }),
});

type Workflow = Result<typeof cellOperatorContract, 'operator.workflow'>;

/** `pando migrate INSTANCE`: starts the migration, shows each step as it is done, then what it came to. */
export async function migrate(instanceId: string, options: { dir: string; to?: string }): Promise<void> {
  const region = openRegion(options);
  const { run } = region;
  const { id, cell: cellNumber } = instanceOf(run, instanceId);
  const targetHostId = options.to === undefined ? undefined : hostIdOf(run, options.to);
  await withCell(region, cellNumber, async (cell) => {
    const started = await cell
      .call('operator.migrate', { instanceId: id, targetHostId })
      .catch((error: unknown) => {
        throw readable(error, (hostId) => hostNameOf(run, hostId), id);
      });
    const [from, to] = [hostNameOf(run, started.sourceHostId), hostNameOf(run, started.targetHostId)];
    progress(`${id}: ${from} → ${to} (${started.workflowId})`);
    const begun = monotonicMs();
    const workflow = await follow(cell, started.workflowId);
    if (workflow.state !== 'done')
      throw new UserError(
        `The migration was ${workflow.state}: ${workflow.error?.message ?? 'no reason told'} ${whereItRuns(workflow, from)}`,
      );
    const { data: facts } = criticalResult.safeParse(resultOf(workflow, 'critical'));
    const pause =
      facts === undefined
        ? ''
        : `; the guest stood still for ${facts.downtimeMs} ms, ${facts.packets.forwarded} packets went through the queue, ${facts.packets.dropped} were dropped`;
    print(`${id} runs on ${to}: ${seconds(monotonicMs() - begun)}${pause}.`);
  });
}

const resultOf = (workflow: Workflow, name: string): unknown =>
  workflow.steps.find((step) => step.name === name)?.result;

/** `queue 11 ms · redirect 14 ms · …`; undefined where the step has no parts. */
const partsOf = (workflow: Workflow, name: string): string | undefined =>
  criticalResult
    .safeParse(resultOf(workflow, name))
    .data?.parts.map(({ part, ms }) => `${part} ${ms} ms`)
    .join(' · ');

const whereItRuns = ({ state, workflowId }: Workflow, from: string): string =>
  state === 'undone' ? `It runs on ${from}, as before.` : `See: pando logs --request ${workflowId}`;

/** Shows each step as it is done, and what is under way when it takes long. */
async function follow(cell: CellCaller, workflowId: string): Promise<Workflow> {
  const until = monotonicMs() + timeoutMs;
  const shown = new Set<string>();
  let underWay = '';
  return ticking(
    async () => {
      for (;;) {
        const workflow = await cell.call('operator.workflow', { workflowId });
        for (const step of workflow.steps.filter((each) => each.done && !shown.has(each.name))) {
          shown.add(step.name);
          progress(`  ✔ ${step.name}${step.ms === undefined ? '' : ` (${step.ms} ms)`}: ${step.why}`);
          const parts = partsOf(workflow, step.name);
          if (parts !== undefined) progress(`      ${parts}`);
        }
        const waits = workflow.waitsFor === undefined ? '' : ` (waits for ${workflow.waitsFor.join(', ')})`;
        underWay = `${workflow.steps.find((step) => !step.done)?.name ?? ''}${waits}`;
        if (ended.includes(workflow.state)) return workflow;
        if (monotonicMs() > until)
          throw new UserError(`It still goes on, at ${underWay}. See: pando logs --request ${workflowId}`);
        await delay(pollMs);
      }
    },
    () => underWay,
  );
}

/** A refusal in the words of the command line: hosts by their short names, an instance that the cell does not know as such. */
function readable(error: unknown, name: (hostId: string) => string, instanceId: string): unknown {
  if (!(error instanceof PandoError)) return error;
  if (error.code === 'NotFound')
    return new UserError(
      `There is no instance ${instanceId} in this region. pando status shows those there are.`,
    );
  const message = error.message.replace(/h-[0-9a-f]{17}/g, name);
  return new PandoError(error.code, message, { cause: error });
}
