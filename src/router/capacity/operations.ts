/** `/capacity/v1/`: which method and path is which operation, and which cells answer it. The OpenAPI document is made of the same table. */
import { type CapacityOperation, capacityLimits } from '#contracts/capacity.ts';
import { PandoError } from '#contracts/errors.ts';
import { cellNumberOf, isId, notFound } from '#contracts/ids.ts';
import { outputOf, unavailable } from '../outcome.ts';
import type { BackendCall } from '../processor.ts';
import { listIn, type Parts, textIn } from '../request.ts';
import { backend, type CapacityRequest } from './backend.ts';
import { createRequest } from './create.ts';

export interface CapacityAnswer {
  readonly operation: CapacityOperation;
  readonly status: number;
  readonly body: unknown;
}

const requestPath = /^requests\/([A-Za-z0-9-]{1,64})$/;

export const dispatchCapacity = async (parts: Parts, request: CapacityRequest): Promise<CapacityAnswer> => {
  const { method, path } = request;
  const id = requestPath.exec(path)?.[1];
  const operation = `${method} ${id === undefined ? path : 'requests/{requestId}'}`;
  switch (operation) {
    case 'POST requests':
      return { operation: 'createRequest', status: 201, body: await createRequest(parts, request) };
    case 'GET requests':
      return { operation: 'listRequests', status: 200, body: await list(parts, request) };
    case 'GET requests/{requestId}':
      return { operation: 'showRequest', status: 200, body: await ofOne(parts, request, 'showRequest', id) };
    case 'DELETE requests/{requestId}':
      return {
        operation: 'cancelRequest',
        status: 200,
        body: await ofOne(parts, request, 'cancelRequest', id),
      };
    default:
      throw new PandoError(
        'InvalidAction',
        `There is no ${method.slice(0, 16)} /capacity/v1/${path.slice(0, 64)}: GET /capacity/v1/openapi.json tells what there is.`,
      );
  }
};

const ofOne = async (
  parts: Parts,
  request: CapacityRequest,
  action: 'showRequest' | 'cancelRequest',
  id = '',
): Promise<unknown> => {
  const cell = isId('capacityRequest', id) ? await parts.cells.byNumber(cellNumberOf(id)) : undefined;
  if (cell === undefined) throw notFound('capacityRequest', id);
  const outcome = await cell.call(backend(request, action, { requestId: id }), true);
  return outputOf(outcome, `${cell.record.cellId}, which has ${id},`);
};

/** A whole number of the query. @throws InvalidParameterValue */
export const numberIn = (query: URLSearchParams, name: string, max: number): number | undefined => {
  const text = query.get(name);
  if (text === null) return undefined;
  const value = /^\d{1,9}$/.test(text) ? Number(text) : Number.NaN;
  if (value >= 0 && value <= max) return value;
  throw new PandoError('InvalidParameterValue', `${name} is a whole number from 0 to ${max}.`);
};

/** Ids begin with their cell's number, so their order is one over all cells. Cells that do not answer are named. */
const list = async (parts: Parts, request: CapacityRequest): Promise<unknown> => {
  const { query } = request;
  const maxResults = numberIn(query, 'maxResults', capacityLimits.pageMax) ?? capacityLimits.pageDefault;
  const after = query.get('after') ?? undefined;
  const states = query.getAll('state');
  const input = { maxResults, ...(after && { after }), ...(states.length > 0 && { states }) };
  const cells = await parts.cells.all();
  const asked = await Promise.all(
    cells.map((cell) => cell.call(backend(request, 'listRequests', input), true)),
  );
  const requests: unknown[] = [];
  const unreachableCells: string[] = [];
  let more = false;
  for (const [at, outcome] of asked.entries()) {
    if (outcome.state === 'answered') {
      requests.push(...listIn(outcome.output, 'requests'));
      more ||= textIn(outcome.output, 'next') !== undefined;
    } else if (outcome.state === 'refused' && outcome.error.status < 500) throw outcome.error;
    else unreachableCells.push(cells[at]?.record.cellId ?? '');
  }
  if (unreachableCells.length === cells.length && cells.length > 0)
    throw unavailable('No cell answers. Retry your request.');
  const idOf = (one: unknown): string => textIn(one, 'requestId') ?? '';
  requests.sort((a, b) => (idOf(a) < idOf(b) ? -1 : 1));
  const page = requests.slice(0, maxResults);
  const next = more || requests.length > maxResults ? idOf(page.at(-1)) : undefined;
  return {
    requests: page,
    ...(next === undefined ? {} : { next }),
    ...(unreachableCells.length > 0 && { unreachableCells }),
  };
};

export const eventsCall = (
  call: CapacityRequest['call'],
  input: { after: number; maxResults: number; waitSeconds: number; requestId?: string | undefined },
): BackendCall => ({ ...call, action: 'events', input });
