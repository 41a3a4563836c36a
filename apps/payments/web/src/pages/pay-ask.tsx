/** Paying what somebody asks: a contact's ask, or a code that was scanned. The amount is the asker's. */
import { useQuery } from '@tanstack/react-query';
import type { Ask, Me } from '../lib/contract.ts';
import { formatMoney } from '../lib/money.ts';
import { queries } from '../lib/queries.ts';
import { Notice } from '../parts/controls.tsx';
import { MoneyForm } from '../parts/money-form.tsx';
import { Loaded, Muted, Page } from '../parts/page.tsx';
import { Sending } from '../parts/sending.tsx';
import { texts } from '../texts.ts';
import { Outcome } from './outcome.tsx';
import { usePaying } from './use-paying.ts';

export function PayAskPage({
  me,
  askId,
  token,
}: {
  readonly me: Me;
  readonly askId: string;
  readonly token: string;
}) {
  const ask = useQuery(queries.ask(askId, token));
  const paying = usePaying(me);
  const name = ask.data?.payee.name ?? '';
  if (paying.sent.state === 'answered') return <Outcome payment={paying.sent.answer} />;
  const pay = (asked: Ask): void =>
    paying.pay({ kind: 'ask', askId: asked.askId, token }, asked.money, '', name);
  return (
    <Page title={texts.pay.to(name)}>
      <Loaded query={ask}>
        {(asked) => (
          <>
            {asked.note !== '' && <p>{asked.note}</p>}
            {asked.state === 'open' || paying.sent.state !== 'idle' ? (
              <MoneyForm
                currency={me.currency}
                fixed={asked.money}
                action={texts.pay.send}
                isBusy={paying.sent.state === 'sending'}
                onSend={() => pay(asked)}
              />
            ) : (
              <Notice tone="wait">
                {formatMoney(asked.money.amountMinor, asked.money.currency)} · {texts.ask.state[asked.state]}
              </Notice>
            )}
            <Sending sent={paying.sent} />
            <Muted>{texts.ask.asksYou(name)}</Muted>
          </>
        )}
      </Loaded>
    </Page>
  );
}
