/** Describe calls over the account's cells (S3.10): at once, or page by page; cells that do not answer are named. */

import { PandoError } from '#contracts/errors.ts';
import { cellNumberMax } from '#contracts/ids.ts';
import { wireLimits } from '#wire/limits.ts';
import { type PageRequest, readPage } from '#wire/pagination.ts';
import type { WireInput } from '#wire/types.ts';
import type { IdParameter } from '../actions.ts';
import type { Cell } from '../cell.ts';
import { type Outcome, outputOf, unavailable } from '../outcome.ts';
import { type Answer, backendCall, type Call, idsIn, listIn, type Parts, textIn } from '../request.ts';
import { callByIds } from './ids.ts';

interface GatherRoute {
  readonly list: string;
  readonly ids?: IdParameter;
  readonly region?: true;
  readonly capped?: true;
}

/** One that has a share of the answer. Sources are asked in the order of their numbers. */
interface Source {
  readonly number: number;
  readonly name: string;
  call(call: Call, input: WireInput): Promise<Outcome>;
}

/** The region comes before every cell. */
const regionNumber = -1;

export const gather = async (parts: Parts, call: Call, route: GatherRoute): Promise<Answer> => {
  const ids = idsIn(call.input, route.ids);
  const paged = call.input.MaxResults !== undefined || call.input.NextToken !== undefined;
  const page = paged ? pageOf(call, route, ids) : undefined;
  if (route.ids !== undefined && ids.length > 0) return callByIds(parts, call, { ...route, ids: route.ids });
  const sources = await sourcesOf(parts, call, route);
  return page === undefined ? gatherAll(call, route, sources) : gatherPage(call, route, sources, page);
};

const sourcesOf = async (parts: Parts, { caller }: Call, route: GatherRoute): Promise<readonly Source[]> => {
  const { cells, unknown } = await parts.accountCells.of(caller.accountId);
  const sources = [...cells.map((cell) => cellSource(parts, cell)), ...unknown.map(unknownSource)];
  if (route.region !== undefined) {
    const call = (call: Call, input: WireInput) => parts.region.call(backendCall(call, input), true);
    return [{ number: regionNumber, name: 'region', call }, ...sources];
  }
  return sources.length > 0 ? sources : [anyCellSource(parts)];
};

const cellSource = (parts: Parts, cell: Cell): Source => ({
  number: cell.record.number,
  name: cell.record.cellId,
  // One that does not seem to live is asked all the same, since it may have come back; the others' answer waits a moment for it.
  call: (call, input) =>
    cell.call(backendCall(call, input), true, cell.live ? undefined : parts.silentCellMs),
});

/** The region's index names it, and no list that this router was told has it. */
const unknownSource = (name: string): Source => ({
  number: cellNumberMax + 1,
  name,
  call: async () => ({ state: 'undelivered', error: unavailable(`${name} is not known here.`) }),
});

/** Of an account without instances: some cell says whether the request is well formed. */
const anyCellSource = (parts: Parts): Source => ({
  number: 0,
  name: 'any cell',
  call: (call, input) => callAnyCell(parts, call, input),
});

/** All at once. A source with more than a page of its own ends the answer there, with a token. */
const gatherAll = async (call: Call, route: GatherRoute, sources: readonly Source[]): Promise<Answer> => {
  const outcomes = await Promise.all(sources.map((source) => source.call(call, call.input)));
  const sink = new Sink(call, route);
  for (const [i, source] of sources.entries()) {
    const outcome = outcomes[i];
    if (outcome === undefined) continue;
    const more = sink.add(source, outcome);
    if (more !== undefined) return sink.answer(pageOf(call, route, []).tokenAfter(cursorOf(source, more)));
  }
  return sink.answer(undefined);
};

/** Source after source until the page is full; fewer left than EC2's smallest page end it early. */
const gatherPage = async (
  call: Call,
  route: GatherRoute,
  sources: readonly Source[],
  page: PageRequest,
): Promise<Answer> => {
  const { MaxResults: _asked, NextToken: _token, ...query } = call.input;
  const start = page.after === undefined ? { number: regionNumber } : parseCursor(page.after);
  const sink = new Sink(call, route);
  for (const source of sources.filter(({ number }) => number >= start.number)) {
    const room = page.items - sink.size;
    if (sink.size > 0 && room < wireLimits.pageItemsMin)
      return sink.answer(page.tokenAfter(cursorOf(source)));
    const token = source.number === start.number ? start.token : undefined;
    const outcome = await source.call(call, {
      ...query,
      MaxResults: room,
      ...(token && { NextToken: token }),
    });
    const more = sink.add(source, outcome);
    if (more !== undefined) return sink.answer(page.tokenAfter(cursorOf(source, more)));
  }
  return sink.answer(undefined);
};

/** Collects what sources answered. */
class Sink {
  readonly #items: unknown[] = [];
  readonly #answered: string[] = [];
  readonly #unreachable: string[] = [];
  readonly #call: Call;
  readonly #route: GatherRoute;

  constructor(call: Call, route: GatherRoute) {
    this.#call = call;
    this.#route = route;
  }

  get size(): number {
    return this.#items.length;
  }

  /**
   * Takes a source's share, and gives the source's token if it has more. A source that does not answer, or
   * answers that it is broken, is noted; a client's own mistake is thrown.
   */
  add(source: Source, outcome: Outcome): string | undefined {
    if (outcome.state === 'answered') {
      this.#answered.push(source.name);
      this.#items.push(...listIn(outcome.output, this.#route.list));
      return textIn(outcome.output, 'NextToken');
    }
    if (outcome.state === 'refused' && outcome.error.status < 500) throw outcome.error;
    this.#unreachable.push(source.name);
    return undefined;
  }

  /** @throws `Unavailable` if nothing at all answered. */
  answer(nextToken: string | undefined): Answer {
    if (this.#answered.length === 0 && this.#unreachable.length > 0)
      throw unavailable(`${this.#call.action} found no cell that answers. Retry your request.`);
    return {
      output: { [this.#route.list]: this.#items, ...(nextToken !== undefined && { NextToken: nextToken }) },
      backend: this.#answered.join(),
      unreachable: this.#unreachable,
    };
  }
}

/**
 * Tokens bind a query, they hide nothing: whoever presents one is authenticated and every source checks its
 * own part again. So their key is no secret, and all replicas agree on it.
 */
const pageOf = (call: Call, route: GatherRoute, ids: readonly string[]): PageRequest =>
  readPage(call.input, {
    secret: 'pando-router-page',
    scope: `${call.caller.accountId}/${call.action}`,
    ids: { parameter: route.ids?.name ?? 'resourcesSet', values: ids },
    ...(route.capped && { capped: true }),
  });

const cursorOf = (source: Source, token?: string): string => JSON.stringify([source.number, token ?? null]);

const parseCursor = (cursor: string): { number: number; token?: string } => {
  try {
    const parsed: unknown = JSON.parse(cursor);
    const [number, token]: unknown[] = Array.isArray(parsed) ? parsed : [];
    if (typeof number === 'number') return typeof token === 'string' ? { number, token } : { number };
  } catch {
    // Falls through: a cursor that is no JSON is no cursor of ours.
  }
  throw new PandoError('InvalidParameterValue', 'Unable to parse pagination token');
};

/** Facts that every cell knows alike: the first live cell that answers. */
export const askAnyCell = async (parts: Parts, call: Call): Promise<Answer> => {
  const last = await callAnyCell(parts, call, call.input);
  const output = outputOf(last, 'Every cell that was asked');
  return { output, backend: last.state === 'answered' ? last.backend : '' };
};

const callAnyCell = async (parts: Parts, call: Call, input: WireInput): Promise<Outcome> => {
  const cells = await parts.cells.all();
  const inOrder = [...cells.filter(({ live }) => live), ...cells.filter(({ live }) => !live)];
  let last: Outcome | undefined;
  for (const cell of inOrder.slice(0, 1 + parts.otherCellsMax)) {
    last = await cell.call(backendCall(call, input), true, cell.live ? undefined : parts.silentCellMs);
    if (last.state === 'answered' || (last.state === 'refused' && last.error.status < 500)) break;
  }
  if (last === undefined) throw unavailable('There is no cell yet. Retry your request.');
  return last;
};
