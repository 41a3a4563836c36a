/** A code that waits to be scanned, until it is paid or no longer open. */
import { useQuery } from '@tanstack/react-query';
import type { Ask } from '../lib/contract.ts';
import { formatMoney } from '../lib/money.ts';
import { queries } from '../lib/queries.ts';
import { timeText } from '../lib/time.ts';
import { Notice } from '../parts/controls.tsx';
import { Muted } from '../parts/page.tsx';
import { QrCode } from '../parts/qr.tsx';
import { texts } from '../texts.ts';

const lookEveryMs = 15_000;

export function OpenCode({ ask, qr }: { readonly ask: Ask; readonly qr: string }) {
  const now = useQuery({
    ...queries.ask(ask.askId, ''),
    initialData: ask,
    refetchInterval: lookEveryMs,
  }).data;
  return (
    <section
      className="card flex flex-col gap-3 text-center"
      aria-label={texts.counter.scan}
      data-testid="code-card"
    >
      <p className="text-2xl font-semibold">{formatMoney(ask.money.amountMinor, ask.money.currency)}</p>
      {now.state === 'open' ? (
        <>
          <p>{texts.counter.scan}</p>
          <QrCode text={qr} label={texts.ask.codeAlt} />
          <Muted>{texts.ask.until(timeText(ask.expiresAt))}</Muted>
          <details className="text-left">
            <summary className="text-sm">{texts.ask.codeText}</summary>
            <code className="text-sm break-all" data-testid="code-text">
              {qr}
            </code>
          </details>
        </>
      ) : (
        <Notice tone={now.state === 'paid' ? 'good' : 'wait'}>
          {now.state === 'paid' ? texts.counter.paid : texts.counter.ended}
        </Notice>
      )}
    </section>
  );
}
