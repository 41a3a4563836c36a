/** The merchant's counter: an amount becomes a code, and what is paid comes in live. */
import { useQuery } from '@tanstack/react-query';
import type { Me } from '../lib/contract.ts';
import { queries } from '../lib/queries.ts';
import { Button, Notice } from '../parts/controls.tsx';
import { useForm } from '../parts/form.ts';
import { MoneyForm } from '../parts/money-form.tsx';
import { Loaded, Muted, Page, Section } from '../parts/page.tsx';
import { Sending } from '../parts/sending.tsx';
import { texts } from '../texts.ts';
import { PaymentRow } from './activity.tsx';
import { OpenCode } from './open-code.tsx';

const expiresInMinutes = 10;
const said = texts.counter;

export default function CounterPage({ me }: { readonly me: Me }) {
  return (
    <Page title={said.title}>
      {me.establishmentId === undefined ? (
        <Notice tone="wait">{texts.none}</Notice>
      ) : (
        <>
          <Charge me={me} establishmentId={me.establishmentId} />
          <Received establishmentId={me.establishmentId} />
        </>
      )}
    </Page>
  );
}

function Charge({ me, establishmentId }: { readonly me: Me; readonly establishmentId: string }) {
  const form = useForm('counterAsk');
  const asked = form.sent.state === 'answered' ? form.sent.answer : undefined;
  if (asked?.qr !== undefined)
    return (
      <>
        <OpenCode ask={asked} qr={asked.qr} />
        <Button onClick={form.reset}>{said.next}</Button>
      </>
    );
  return (
    <>
      <MoneyForm
        currency={me.currency}
        action={said.charge}
        isBusy={form.sent.state === 'sending'}
        onSend={(money, note) =>
          void form.submit({
            title: said.askTitle,
            type: 'counter.ask',
            fields: { money, note, expiresInMinutes },
            params: { establishmentId },
          })
        }
      />
      <Sending sent={form.sent} />
    </>
  );
}

function Received({ establishmentId }: { readonly establishmentId: string }) {
  const counter = useQuery(queries.counter(establishmentId));
  return (
    <Section title={said.received}>
      <Loaded query={counter}>
        {({ received }) => (
          <>
            {received.length === 0 && <Muted>{said.none}</Muted>}
            <ul className="flex flex-col gap-2" data-testid="received" aria-live="polite">
              {received.map((payment) => (
                <PaymentRow key={payment.paymentId} payment={payment} />
              ))}
            </ul>
          </>
        )}
      </Loaded>
    </Section>
  );
}
