import { setTimeout as delay } from 'node:timers/promises';
import { cellNumberOf, parseId } from '#contracts/ids.ts';
import { hostIdOf, hostNameOf, withCell } from '../operator.ts';
import { print, progress, table, UserError } from '../output.ts';
import { openRegion } from '../region.ts';

const pollMs = 200;
const timeoutMs = 15 * 60_000;
const ended = ['done', 'undone', 'stuck'];

/** `pando migrate INSTANCE`: starts the migration, shows each step as it is done, then the time line. */
export async function migrate(instanceId: string, options: { dir: string; to?: string }): Promise<void> {
  const region = openRegion(options);
  const id = parseId('instance', instanceId);
  const targetHostId = options.to === undefined ? undefined : hostIdOf(region.run, options.to);
  await withCell(region, cellNumberOf(id), async (cell) => {
    const started = await cell.call('operator.migrate', { instanceId: id, targetHostId });
    const name = (hostId: string): string => hostNameOf(region.run, hostId);
    progress(`${id}: ${name(started.sourceHostId)} → ${name(started.targetHostId)} (${started.workflowId})`);
    const until = performance.now() + timeoutMs;
    let shown = 0;
    for (;;) {
      const workflow = await cell.call('operator.workflow', { workflowId: started.workflowId });
      const done = workflow.steps.filter((step) => step.done);
      for (const step of done.slice(shown))
        progress(`  ✔ ${step.name}${step.ms === undefined ? '' : ` (${step.ms} ms)`}: ${step.why}`);
      shown = Math.max(shown, done.length);
      if (ended.includes(workflow.state)) {
        print(
          table(
            workflow.steps.map((step) => [
              step.done ? '✔' : '·',
              step.name,
              step.ms === undefined ? '' : `${step.ms} ms`,
              summary(step.result),
            ]),
          ),
        );
        if (workflow.state !== 'done')
          throw new UserError(
            `The migration was ${workflow.state}: ${workflow.error?.message ?? 'no reason told'}. The VM runs where it was.`,
          );
        print(`${id} runs on ${name(started.targetHostId)}.`);
        return;
      }
      if (performance.now() > until)
        throw new UserError(`It still goes on. See: pando logs --request ${started.workflowId}`);
      await delay(pollMs);
    }
  });
}

const summaryCharactersMax = 100;

const summary = (result: unknown): string =>
  result === undefined || result === null ? '' : JSON.stringify(result).slice(0, summaryCharactersMax);
