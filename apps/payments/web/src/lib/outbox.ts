/**
 * The outbox: signed messages that go out until they are answered. A message is written to IndexedDB before it is first sent, and every
 * try sends the same `Idempotency-Key` and the same bytes, so the server does it once, however often it arrives.
 */
import { ApiError, NoAnswer, send } from './api.ts';
import type { AnswerOf } from './contract.ts';
import { database, type OutboxEntry } from './db.ts';
import { ensureDevice } from './device.ts';
import type { PathName } from './paths.ts';
import { signedMessage } from './signing.ts';
import { store } from './store.ts';

const waitingMax = 50;
const backoffMs = { first: 500, max: 20_000 } as const;
const settledKeptMs = 24 * 3_600_000;
/** Refusals that say "not now": the same message is sent again. All other refusals are final, and nothing was booked. */
const laterCodes: readonly string[] = [
  'idempotency_in_progress',
  'rate_limited',
  'busy',
  'internal',
  'not_signed_in',
];

/** The present person's entries, oldest first. */
export const outbox = store<readonly OutboxEntry[]>([]);

/** Where a page is still open that waits for an answer, it gets it; otherwise the outbox shows it until it is dismissed. */
const waiters = new Map<string, (entry: OutboxEntry) => void>();
let person: string | undefined;
let timer: ReturnType<typeof setTimeout> | undefined;
let failures = 0;

/** From now on messages of this person go out, those of an earlier visit first; undefined: none. */
export async function openOutbox(personId: string | undefined): Promise<void> {
  person = personId;
  await load();
  kick();
}

export interface Message {
  /** Chosen when a form opens: a second press of its button is the same message. */
  readonly key: string;
  readonly title: string;
  readonly type: string;
  readonly fields: object;
  readonly params?: Readonly<Record<string, string>>;
}

/** Signs, keeps and sends. Resolves when the server answered, however long that takes. Errors: {@link ApiError}. */
export async function post<Name extends PathName>(name: Name, message: Message): Promise<AnswerOf<Name>> {
  const personId = person;
  if (personId === undefined) throw new Error('nobody is signed in');
  if (outbox.get().filter((entry) => entry.state === 'waiting').length >= waitingMax)
    throw new Error(`${waitingMax} messages wait already.`);
  const device = await ensureDevice(personId);
  const { params = {} } = message;
  const bodyText = JSON.stringify(
    await signedMessage(device, message.type, { ...message.fields, ...params }),
  );
  const entry: OutboxEntry = {
    key: message.key,
    personId,
    name,
    params,
    bodyText,
    title: message.title,
    at: Date.now(),
    state: 'waiting',
    attempts: 0,
  };
  const answered = new Promise<OutboxEntry>((resolve) => waiters.set(entry.key, resolve));
  const db = await database();
  // `add` refuses a key that is there: of two presses the second only waits for the first one's answer.
  if ((await db.get('outbox', entry.key)) === undefined) await db.add('outbox', entry);
  await load();
  failures = 0;
  kick();
  const settled = await answered;
  if (settled.error !== undefined)
    throw new ApiError(0, { ...settled.error, requestId: '' } as ConstructorParameters<typeof ApiError>[1]);
  return settled.answer as AnswerOf<Name>;
}

export async function dismiss(key: string): Promise<void> {
  await (await database()).delete('outbox', key);
  await load();
}

/** Sends what waits, now. */
export function kick(): void {
  clearTimeout(timer);
  // One tab sends at a time: two would be harmless (same key), but wasteful.
  void navigator.locks.request('outbox', sendAll);
}
addEventListener('online', () => {
  failures = 0;
  kick();
});
document.addEventListener('visibilitychange', () => {
  if (document.visibilityState === 'visible') kick();
});

async function sendAll(): Promise<void> {
  await load();
  for (const entry of outbox.get()) {
    if (entry.personId !== person) return;
    if (entry.state === 'waiting' && !(await sendOne(entry))) {
      const waitMs = Math.min(backoffMs.max, backoffMs.first * 2 ** failures);
      failures += 1;
      clearTimeout(timer);
      timer = setTimeout(kick, waitMs);
      return;
    }
    if (entry.state !== 'waiting') deliver(entry);
  }
  failures = 0;
}

/** False: not answered yet. */
async function sendOne(entry: OutboxEntry): Promise<boolean> {
  try {
    const answer = await send(entry.name, entry.bodyText, { params: entry.params, key: entry.key });
    await settle({ ...entry, state: 'answered', answer });
    return true;
  } catch (error) {
    if (error instanceof ApiError && !laterCodes.includes(error.code)) {
      await settle({ ...entry, state: 'refused', error: { code: error.code, message: error.message } });
      return true;
    }
    if (!(error instanceof ApiError) && !(error instanceof NoAnswer)) throw error;
    await (await database()).put('outbox', { ...entry, attempts: entry.attempts + 1 });
    await load();
    return false;
  }
}

async function settle(entry: OutboxEntry): Promise<void> {
  await (await database()).put('outbox', entry);
  await load();
  deliver(entry);
}

function deliver(entry: OutboxEntry): void {
  const waiter = waiters.get(entry.key);
  if (waiter === undefined) return;
  waiters.delete(entry.key);
  waiter(entry);
  void dismiss(entry.key);
}

async function load(): Promise<void> {
  const db = await database();
  const all = (await db.getAll('outbox')).filter((entry) => entry.personId === person);
  const isOld = (entry: OutboxEntry): boolean =>
    entry.state !== 'waiting' && entry.at < Date.now() - settledKeptMs;
  for (const entry of all.filter(isOld)) await db.delete('outbox', entry.key);
  outbox.set(all.filter((entry) => !isOld(entry)).sort((a, b) => a.at - b.at));
}
