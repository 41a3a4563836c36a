/** How a message that was sent stands, where its answer does not replace the form. */
import { outbox } from '../lib/outbox.ts';
import { texts } from '../texts.ts';
import { Notice } from './controls.tsx';
import type { Sent } from './form.ts';

export function Sending({ sent }: { readonly sent: Sent<unknown> }) {
  const isSlow = outbox.use().some((entry) => entry.state === 'waiting' && entry.attempts > 0);
  if (sent.state === 'failed') return <Notice tone="bad">{sent.error.message}</Notice>;
  if (sent.state === 'sending')
    return <Notice tone={isSlow ? 'wait' : 'plain'}>{isSlow ? texts.pay.offline : texts.pay.sending}</Notice>;
  return null;
}
