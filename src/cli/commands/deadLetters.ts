/** `pando request dead-letters` and `replay`: webhooks that were given up, and another try. */
import type { Result } from '#base/rpc/contract.ts';
import type { cellOperatorContract } from '#contracts/cell-operator.ts';
import { PandoError } from '#contracts/errors.ts';
import { cellNumberOf, isId } from '#contracts/ids.ts';
import { planOf, withCell } from '../operator.ts';
import { print, table, UserError } from '../output.ts';
import { openRun } from '../region.ts';

type Letter = Result<typeof cellOperatorContract, 'operator.deadLetters'>['letters'][number];

interface Options {
  readonly dir: string;
}

export async function listDeadLetters(options: Options & { readonly json: boolean }): Promise<void> {
  const region = openRun(options);
  const cells = await Promise.all(
    planOf(region.run).cells.map(({ number }) =>
      withCell(region, number, (cell) => cell.call('operator.deadLetters', {})),
    ),
  );
  const letters: Letter[] = cells.flatMap((cell) => cell.letters);
  if (options.json) return print(JSON.stringify(letters, null, 2));
  if (letters.length === 0) return print('No webhook was given up.');
  print(
    table([
      ['event', 'request', 'account', 'what', 'to', 'tries', 'why'],
      ...letters.map((each) => [
        ...[each.eventId, each.requestId, each.accountId, each.kind, new URL(each.url).host],
        ...[String(each.attempts), each.reason],
      ]),
    ]),
  );
  print('Try them again: pando request replay EVENT, or pando request replay --all');
}

export interface ReplayOptions extends Options {
  readonly all: boolean;
  readonly account?: string;
}

export async function replayDeadLetters(
  eventId: string | undefined,
  { all, account, ...options }: ReplayOptions,
): Promise<void> {
  if ([eventId !== undefined, all, account !== undefined].filter(Boolean).length !== 1)
    throw new UserError(
      'Which ones? An event, --account ACCOUNT, or --all: pando request dead-letters lists them.',
    );
  const region = openRun(options);
  const numbers = planOf(region.run).cells.map(({ number }) => number);
  if (eventId !== undefined && !(isId('capacityEvent', eventId) && numbers.includes(cellNumberOf(eventId))))
    throw new UserError(`${eventId} is no event's id of this region: pando request dead-letters lists them.`);
  const chosen =
    eventId === undefined ? numbers : numbers.filter((number) => number === cellNumberOf(eventId));
  const counts = await Promise.all(
    chosen.map((number) =>
      withCell(region, number, (cell) =>
        cell.call('operator.replayDeadLetters', {
          ...(eventId === undefined ? {} : { eventId }),
          ...(account === undefined ? {} : { accountId: account }),
        }),
      ),
    ),
  ).catch((error: unknown) => {
    if (error instanceof PandoError && error.code === 'NotFound') throw new UserError(error.message);
    throw error;
  });
  const replayed = counts.reduce((sum, each) => sum + each.replayed, 0);
  print(`${replayed === 1 ? 'One webhook is' : `${replayed} webhooks are`} tried again, under the same id.`);
}
