/** Asking for money: of a contact, or of whoever scans the code. */
import { useQuery } from '@tanstack/react-query';
import { useState } from 'react';
import type { Me } from '../lib/contract.ts';
import { queries } from '../lib/queries.ts';
import { Button, Select } from '../parts/controls.tsx';
import { useForm } from '../parts/form.ts';
import { MoneyForm } from '../parts/money-form.tsx';
import { Page } from '../parts/page.tsx';
import { Sending } from '../parts/sending.tsx';
import { texts } from '../texts.ts';
import { AsksByMe } from './asks.tsx';
import { OpenCode } from './open-code.tsx';

const expiresInMinutes = 60;
const anyone = '';

export function AskPage({ me }: { readonly me: Me }) {
  const contacts =
    useQuery(queries.contacts()).data?.contacts.filter((each) => each.state === 'mutual') ?? [];
  const [from, setFrom] = useState(anyone);
  const form = useForm('ask');
  const asked = form.sent.state === 'answered' ? form.sent.answer : undefined;
  const name = contacts.find((each) => each.personId === from)?.name ?? texts.ask.anyone;
  return (
    <Page title={texts.ask.title}>
      {asked?.qr !== undefined ? (
        <>
          <OpenCode ask={asked} qr={asked.qr} />
          <Button look="plain" onClick={form.reset}>
            {texts.pay.done}
          </Button>
        </>
      ) : (
        <MoneyForm
          key={asked?.askId ?? ''}
          currency={me.currency}
          action={texts.ask.send}
          isBusy={form.sent.state === 'sending'}
          onSend={(money, note) =>
            void form.submit({
              title: texts.ask.askTitle(name),
              type: 'ask',
              fields: { ...(from !== anyone && { from }), money, note, expiresInMinutes },
            })
          }
        >
          <Select
            label={texts.ask.from}
            value={from}
            options={{
              [anyone]: texts.ask.anyone,
              ...Object.fromEntries(contacts.map((each) => [each.personId, each.name])),
            }}
            onChange={(event) => setFrom(event.target.value)}
          />
        </MoneyForm>
      )}
      <Sending sent={form.sent} />
      <AsksByMe />
    </Page>
  );
}
