/** What operators ask of rollouts under way. Rows, so that any process of the region takes them, and the engine that runs now answers. */
import { setTimeout as delay } from 'node:timers/promises';
import { sql } from 'kysely';
import { monotonicMs } from '#base/monotonic.ts';
import { PandoError } from '#contracts/errors.ts';
import type { RolloutAction } from '#contracts/rollout.ts';
import type { RolloutRun } from '#rollout/run.ts';
import type { Database } from '../schema.ts';
import { tokenMismatch } from './policies.ts';

const requestsPerLookMax = 100;
const answerMsMax = 10_000;
const askEveryMs = 50;

interface Answer {
  readonly ok: boolean;
  readonly code?: string;
  readonly message?: string;
  readonly refusal?: string;
}

interface RequestRow {
  request_id: number;
  rollout_id: string;
  action: RolloutAction;
  who: string;
  names: readonly string[];
}

/** Answers to requests that are carried out in memory: to be written once the rollouts are. */
export type Answers = ReadonlyMap<number, Answer>;

/** Carries out what was asked and not answered yet. An engine that dies before both are written leaves the request to the next. */
export const takeRequests = async (
  db: Database,
  runs: ReadonlyMap<string, RolloutRun>,
  nowMs: number,
): Promise<Answers> => {
  const { rows } =
    await sql<RequestRow>`select request_id, rollout_id, action, who, names from rollout_request
    where answer is null order by request_id limit ${requestsPerLookMax}`.execute(db);
  return new Map(rows.map((row) => [row.request_id, answerTo(runs.get(row.rollout_id), row, nowMs)]));
};

export const writeAnswers = async (db: Database, answers: Answers): Promise<void> => {
  for (const [id, answer] of answers)
    await sql`update rollout_request set answer = ${JSON.stringify(answer)}
      where request_id = ${id} and answer is null`.execute(db);
};

const answerTo = (
  run: RolloutRun | undefined,
  { rollout_id, action, who, names }: RequestRow,
  nowMs: number,
): Answer => {
  try {
    if (run === undefined)
      throw new PandoError('IncorrectState', `WrongPhase: ${rollout_id} has ended.`, {
        details: { refusal: 'WrongPhase' },
      });
    if (action === 'approve') run.approve(who, names, nowMs);
    else run[action](who, nowMs);
    return { ok: true };
  } catch (error) {
    const { code, message, details } = PandoError.from(error);
    return { ok: false, code, message, ...(details?.refusal !== undefined && { refusal: details.refusal }) };
  }
};

/** Asks, and waits for the answer. @throws what the engine says; `Unavailable` when no engine has answered: it will, later. */
export const ask = async (
  db: Database,
  request: {
    readonly rolloutId: string;
    readonly action: RolloutAction;
    readonly who: string;
    readonly names: readonly string[];
    readonly clientToken?: string | undefined;
  },
  hint: () => void,
): Promise<void> => {
  const { rows } = await sql<{ request_id: number }>`
    insert into rollout_request (rollout_id, action, who, names, client_token)
    values (${request.rolloutId}, ${request.action}, ${request.who}, ${JSON.stringify(request.names)},
      ${request.clientToken ?? null})
    on conflict (rollout_id, client_token) where client_token is not null do nothing
    returning request_id`.execute(db);
  const id = rows[0]?.request_id ?? (await askedBefore(db, request));
  hint();
  const until = monotonicMs() + answerMsMax;
  while (monotonicMs() < until) {
    const found = await sql<{ answer: Answer | null }>`
      select answer from rollout_request where request_id = ${id}`.execute(db);
    const answer = found.rows[0]?.answer ?? undefined;
    if (answer !== undefined) {
      if (answer.ok) return;
      throw errorOf(answer);
    }
    await delay(askEveryMs);
  }
  throw new PandoError(
    'Unavailable',
    'No engine of rollouts has answered yet; what you asked is kept for it.',
  );
};

/** The request that the token was used for. @throws IdempotentParameterMismatch when it was another */
const askedBefore = async (
  db: Database,
  { rolloutId, action, who, clientToken }: Parameters<typeof ask>[1],
): Promise<number> => {
  const { rows } = await sql<Pick<RequestRow, 'request_id' | 'action' | 'who'>>`
    select request_id, action, who from rollout_request
    where rollout_id = ${rolloutId} and client_token = ${clientToken ?? null}`.execute(db);
  const [row] = rows;
  if (row === undefined || row.action !== action || row.who !== who) throw tokenMismatch(clientToken);
  return row.request_id;
};

const errorOf = ({ code, message = '', refusal }: Answer): PandoError => {
  const known =
    code === 'UnauthorizedOperation' || code === 'IncorrectState' ? code : 'InvalidParameterValue';
  return new PandoError(known, message, refusal === undefined ? {} : { details: { refusal } });
};
