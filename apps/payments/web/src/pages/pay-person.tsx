/** Paying a contact. */
import { useQuery } from '@tanstack/react-query';
import type { Me } from '../lib/contract.ts';
import { queries } from '../lib/queries.ts';
import { MoneyForm } from '../parts/money-form.tsx';
import { Loaded, Muted, Page } from '../parts/page.tsx';
import { Sending } from '../parts/sending.tsx';
import { texts } from '../texts.ts';
import { Outcome } from './outcome.tsx';
import { usePaying } from './use-paying.ts';

export function PayPersonPage({ me, personId }: { readonly me: Me; readonly personId: string }) {
  const contacts = useQuery(queries.contacts());
  const nearby = useQuery(queries.nearby());
  const paying = usePaying(me);
  const person = contacts.data?.contacts.find((each) => each.personId === personId);
  const near = nearby.data?.contacts.find((each) => each.personId === personId);
  const name = person?.name ?? '';
  if (paying.sent.state === 'answered') return <Outcome payment={paying.sent.answer} />;
  return (
    <Page title={texts.pay.to(name)}>
      <Loaded query={contacts}>
        {() => (
          <>
            <Muted>
              {near === undefined
                ? `${texts.nearness.other}: ${texts.nearness.otherWhy}.`
                : `${texts.nearness[near.likelihood]}.`}
            </Muted>
            <MoneyForm
              currency={me.currency}
              action={texts.pay.send}
              isBusy={paying.sent.state === 'sending'}
              onSend={(money, note) =>
                paying.pay({ kind: 'contact', personId: personId as `per_${string}` }, money, note, name)
              }
            />
            <Sending sent={paying.sent} />
          </>
        )}
      </Loaded>
    </Page>
  );
}
