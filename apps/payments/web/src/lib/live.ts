/** Live events: the server says that something changed, the pages read it again. */
import type { QueryClient } from '@tanstack/react-query';
import type { LiveEvent } from './contract.ts';
import { kick } from './outbox.ts';
import { store } from './store.ts';

const reopenMs = 2_000;
/** What each event makes old. Keys are the first part of query keys. */
const staleBy: Readonly<Record<LiveEvent['type'], readonly string[]>> = {
  payment: ['activity', 'payment', 'counter', 'me'],
  ask: ['asks', 'ask', 'counter'],
  split: ['splits', 'split', 'activity', 'offer'],
  contact: ['contacts', 'nearby'],
  balance: ['me', 'statement'],
};

export const connection = store<'live' | 'connecting'>('connecting');

/** Opens the stream and keeps it open; the answer ends it. */
export function listen(client: QueryClient): () => void {
  let source: EventSource | undefined;
  let timer: ReturnType<typeof setTimeout> | undefined;

  const open = (): void => {
    clearTimeout(timer);
    source?.close();
    const opened = new EventSource('/v1/events');
    source = opened;
    opened.onopen = () => {
      connection.set('live');
      // Whatever happened while there was no stream is read again. The outbox has a network again, too.
      void client.invalidateQueries();
      kick();
    };
    opened.onerror = () => {
      connection.set('connecting');
      // A browser comes back by itself after a broken connection, but never after an answer that is no stream.
      if (opened.readyState === EventSource.CLOSED) timer = setTimeout(open, reopenMs);
    };
    for (const [type, keys] of Object.entries(staleBy))
      opened.addEventListener(type, () => {
        for (const key of keys) void client.invalidateQueries({ queryKey: [key] });
      });
  };
  const lost = (): void => connection.set('connecting');
  open();
  addEventListener('online', open);
  addEventListener('offline', lost);
  return () => {
    clearTimeout(timer);
    source?.close();
    removeEventListener('online', open);
    removeEventListener('offline', lost);
  };
}
