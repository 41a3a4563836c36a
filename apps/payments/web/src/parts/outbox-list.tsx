/** What is on its way, and what was answered after its page was gone. */
import type { OutboxEntry } from '../lib/db.ts';
import { dismiss, outbox } from '../lib/outbox.ts';
import { texts } from '../texts.ts';
import { Button } from './controls.tsx';

/** Answers usually come at once: only what had to be sent again is worth telling. */
const isWorthTelling = (entry: OutboxEntry): boolean => entry.state !== 'waiting' || entry.attempts > 0;

export function OutboxList() {
  const entries = outbox.use().filter(isWorthTelling);
  if (entries.length === 0) return null;
  return (
    <section aria-label={texts.activity.outbox} className="mx-auto max-w-xl px-4" data-testid="outbox">
      <div className="card" role="status">
        {entries.map((entry) => (
          <div key={entry.key} className="row">
            <div className="min-w-0 flex-1">
              <p className="truncate font-medium">{entry.title}</p>
              <p className="text-sm text-muted">
                {entry.state === 'waiting' && texts.activity.waiting}
                {entry.state === 'answered' && texts.activity.settled}
                {entry.state === 'refused' && entry.error?.message}
              </p>
            </div>
            {entry.state !== 'waiting' && (
              <Button look="plain" onClick={() => void dismiss(entry.key)}>
                {texts.activity.dismiss}
              </Button>
            )}
          </div>
        ))}
      </div>
    </section>
  );
}
