/** Events of an account over all cells: a page for who polls, a stream for who stays (server-sent events). */
import type { ServerResponse } from 'node:http';
import { setTimeout as delay } from 'node:timers/promises';
import { capacityLimits } from '#contracts/capacity.ts';
import { PandoError } from '#contracts/errors.ts';
import type { Cell } from '../cell.ts';
import { unavailable } from '../outcome.ts';
import { listIn, type Parts } from '../request.ts';
import type { CapacityRequest } from './backend.ts';
import { type Cursor, cursorText } from './cursor.ts';
import { eventsCall } from './operations.ts';

export interface EventsAsked {
  readonly call: CapacityRequest['call'];
  readonly cursor: Cursor;
  readonly maxResults: number;
  readonly waitSeconds: number;
  readonly requestId?: string | undefined;
}

interface CellEvents {
  readonly cell: Cell;
  readonly events: readonly unknown[];
  readonly last: number;
}

/** Below the deadline of a call to a cell, whatever that is set to. */
const waitSecondsMax = Math.min(8, capacityLimits.eventsWaitSecondsMax);
const awayMs = 1_000;
const keepAliveMs = 15_000;
const streamMsMax = 3_600_000;

const ask = async (cell: Cell, asked: EventsAsked, waitSeconds: number): Promise<CellEvents | undefined> => {
  const after = asked.cursor.get(cell.record.number) ?? 0;
  const { maxResults, requestId } = asked;
  const outcome = await cell.call(
    eventsCall(asked.call, { after, maxResults, waitSeconds, ...(requestId && { requestId }) }),
    true,
  );
  if (outcome.state === 'refused' && outcome.error.status < 500) throw outcome.error;
  if (outcome.state !== 'answered') return undefined;
  const last = Number(outcome.output.last);
  return { cell, events: listIn(outcome.output, 'events'), last };
};

/** A page: what there is; where there is nothing, the first that comes within the wait. */
export const readEvents = async (parts: Parts, asked: EventsAsked): Promise<unknown> => {
  const cells = await parts.cells.all();
  let found = await Promise.all(cells.map((cell) => ask(cell, asked, 0)));
  if (cells.length > 0 && found.every((one) => one === undefined))
    throw unavailable('No cell answers. Retry your request.');
  const none = (all: typeof found): boolean =>
    all.every((one) => one === undefined || one.events.length === 0);
  if (none(found) && asked.waitSeconds > 0) {
    const wait = Math.min(asked.waitSeconds, waitSecondsMax);
    const first = await firstWithEvents(cells, asked, wait);
    if (first !== undefined) found = [first];
  }
  const cursor = new Map(asked.cursor);
  for (const one of found) if (one !== undefined) cursor.set(one.cell.record.number, one.last);
  const unreachableCells = cells.filter((_, at) => found.length === cells.length && found[at] === undefined);
  return {
    events: found.flatMap((one) => one?.events ?? []),
    cursor: cursorText(cursor),
    ...(unreachableCells.length > 0 && {
      unreachableCells: unreachableCells.map(({ record }) => record.cellId),
    }),
  };
};

const firstWithEvents = (
  cells: readonly Cell[],
  asked: EventsAsked,
  wait: number,
): Promise<CellEvents | undefined> =>
  Promise.any(
    cells.map(async (cell) => {
      const one = await ask(cell, asked, wait);
      if (one === undefined || one.events.length === 0) throw new Error('nothing came');
      return one;
    }),
  ).catch(() => undefined);

/** How many streams are open, of all and of each account. */
export class Streams {
  readonly #max: number;
  readonly #accountMax: number;
  readonly #byAccount = new Map<string, number>();
  #open = 0;

  constructor({ max = 2_000, accountMax = 16 }: { max?: number; accountMax?: number } = {}) {
    this.#max = max;
    this.#accountMax = accountMax;
  }

  /** @throws RequestLimitExceeded */
  enter(accountId: string): () => void {
    const present = this.#byAccount.get(accountId) ?? 0;
    if (this.#open >= this.#max || present >= this.#accountMax)
      throw new PandoError(
        'RequestLimitExceeded',
        'Too many streams of events are open. Close one, or poll.',
      );
    this.#open += 1;
    this.#byAccount.set(accountId, present + 1);
    return () => {
      this.#open -= 1;
      const rest = (this.#byAccount.get(accountId) ?? 1) - 1;
      if (rest > 0) this.#byAccount.set(accountId, rest);
      else this.#byAccount.delete(accountId);
    };
  }
}

/** Whether who asked for a stream would still be answered, looked at so often. It never fails. */
export interface StreamLeave {
  readonly everyMs: number;
  isGood(): Promise<boolean>;
}

/**
 * Writes events as they come until the client goes, may not have them any more, or an hour is over: it comes back with `Last-Event-ID`.
 */
export const streamEvents = async (
  parts: Parts,
  asked: EventsAsked,
  response: ServerResponse,
  leave: StreamLeave,
): Promise<void> => {
  const gone = new AbortController();
  response.once('close', () => gone.abort());
  const end = setTimeout(() => gone.abort(), streamMsMax);
  const look = (): void => void leave.isGood().then((good) => good || gone.abort());
  const looking = setInterval(look, leave.everyMs);
  const beat = setInterval(() => response.write(': keep-alive\n\n'), keepAliveMs);
  const cursor = new Map(asked.cursor);
  const followed = new Set<number>();
  const follow = async (cell: Cell): Promise<void> => {
    while (!gone.signal.aborted) {
      const one = await ask(cell, { ...asked, cursor }, waitSecondsMax);
      if (gone.signal.aborted) return;
      if (one === undefined) await delay(awayMs, undefined, { signal: gone.signal }).catch(() => undefined);
      else if (one.events.length > 0) await write(one);
    }
  };
  const write = async ({ cell, events, last }: CellEvents): Promise<void> => {
    // All of a page but the last say how far the page before went: who comes back there reads the page again.
    for (const [at, event] of events.entries()) {
      if (at === events.length - 1) cursor.set(cell.record.number, last);
      const kind = Reflect.get(Object(event), 'kind');
      const text = `id: ${cursorText(cursor)}\nevent: ${kind}\ndata: ${JSON.stringify(event)}\n\n`;
      // A client that does not read is not written to without end.
      if (!response.write(text))
        await new Promise((go) => {
          response.once('drain', () => go(undefined));
          gone.signal.addEventListener('abort', () => go(undefined), { once: true });
        });
    }
  };
  const followAll = async (): Promise<void> => {
    while (!gone.signal.aborted) {
      for (const cell of await parts.cells.all()) {
        if (followed.has(cell.record.number)) continue;
        followed.add(cell.record.number);
        void follow(cell)
          .catch(() => gone.abort())
          .finally(() => followed.delete(cell.record.number));
      }
      await delay(awayMs, undefined, { signal: gone.signal }).catch(() => undefined);
    }
  };
  response.write(`retry: ${awayMs}\n\n`);
  try {
    await followAll();
  } finally {
    clearTimeout(end);
    clearInterval(looking);
    clearInterval(beat);
    response.end();
  }
};
