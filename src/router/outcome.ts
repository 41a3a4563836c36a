/** What became of one call to one backend. The difference between the last two is what keeps I4. */
import { PandoError } from '#contracts/errors.ts';
import type { WireInput } from '#wire/types.ts';

export type Outcome =
  | { readonly state: 'answered'; readonly output: WireInput; readonly backend: string }
  /** The backend itself said no. */
  | { readonly state: 'refused'; readonly error: PandoError; readonly backend: string }
  /** It was never sent: asking elsewhere is safe. */
  | { readonly state: 'undelivered'; readonly error: PandoError }
  /** It was sent and not answered: it may have been carried out. */
  | { readonly state: 'uncertain'; readonly error: PandoError };

/** Codes that a stream makes when an answer is missing, or that say that a peer lost its own way, or its store's answer. */
const uncertainCodes: ReadonlySet<string> = new Set([
  'HostUnreachable',
  'DeadlineExceeded',
  'Cancelled',
  'NotReady',
  'UnknownOutcome',
]);

/** The outcome of a call that was sent and failed. */
export const failed = (thrown: unknown, backend: string): Outcome => {
  const error = PandoError.from(thrown);
  return uncertainCodes.has(error.code)
    ? { state: 'uncertain', error }
    : { state: 'refused', error, backend };
};

/** The outcome of a call that was sent and answered. */
export const answered = (output: unknown, backend: string): Outcome =>
  isRecord(output)
    ? { state: 'answered', output, backend }
    : failed(new TypeError(`${backend} gave an output that is no structure`), backend);

/** Whether no answer came at all: the backend counts as unreachable. */
export const isUnanswered = (
  outcome: Outcome,
): outcome is Extract<Outcome, { state: 'undelivered' | 'uncertain' }> =>
  outcome.state === 'undelivered' || outcome.state === 'uncertain';

/** The output, or the error that a client gets: no answer is `Unavailable`. */
export const outputOf = (outcome: Outcome, who: string): WireInput => {
  if (outcome.state === 'answered') return outcome.output;
  if (outcome.state === 'refused') throw outcome.error;
  throw unavailable(`${who} cannot be reached for the moment. Retry your request.`, outcome.error);
};

export const unavailable = (message: string, cause?: unknown): PandoError =>
  new PandoError('Unavailable', message, { cause });

export const isRecord = (value: unknown): value is Readonly<Record<string, unknown>> =>
  typeof value === 'object' && value !== null && !Array.isArray(value);
