/** Splitting a bill: contacts who were there, and a part for each. */
import { useQuery } from '@tanstack/react-query';
import { useState } from 'react';
import type { SplitOffer } from '../lib/contract.ts';
import { type DivideBy, type DivisionDraft, divisionOf, partsOf } from '../lib/division.ts';
import { formatMoney } from '../lib/money.ts';
import { queries } from '../lib/queries.ts';
import { go } from '../lib/router.ts';
import { Button, Notice } from '../parts/controls.tsx';
import { useForm } from '../parts/form.ts';
import { Loaded, Muted, Page, Section } from '../parts/page.tsx';
import { Sending } from '../parts/sending.tsx';
import { texts } from '../texts.ts';
import { SplitPeople } from './split-people.tsx';

const said = texts.split;
const expiresInHours = 24;
const ways: readonly DivideBy[] = ['equal', 'amounts', 'shares'];

export function NewSplitPage({ paymentId }: { readonly paymentId: string }) {
  const offer = useQuery(queries.offer(paymentId));
  return (
    <Page title={said.title}>
      <Loaded query={offer} rows={5}>
        {(offer) => <SplitForm offer={offer} />}
      </Loaded>
    </Page>
  );
}

function SplitForm({ offer }: { readonly offer: SplitOffer }) {
  const [draft, setDraft] = useState<DivisionDraft>({ by: 'equal', people: [], typed: {}, own: '1' });
  const form = useForm('split');
  const { currency, paymentId } = offer;
  const division = divisionOf(draft, currency);
  const remaining = BigInt(offer.remainingMinor);
  const parts =
    division === undefined ? new Map<string, bigint>() : partsOf(division, BigInt(offer.amountMinor));
  const asked = [...parts.values()].reduce((sum, part) => sum + part, 0n);
  const isTooMuch = asked > remaining;
  const send = async (): Promise<void> => {
    const made = await form.submit({
      title: said.sendTitle,
      type: 'split',
      fields: { division, expiresInHours },
      params: { paymentId },
    });
    if (made !== undefined) go(`/split/${made.splitId}`);
  };
  if (offer.people.length === 0)
    return (
      <Notice tone="wait">
        {said.nobody} {said.only}
      </Notice>
    );
  return (
    <>
      <p className="text-2xl font-semibold">{formatMoney(offer.amountMinor, currency)}</p>
      <Muted>{said.left(formatMoney(offer.remainingMinor, currency))}</Muted>
      <Ways by={draft.by} onChange={(by) => setDraft({ ...draft, by, typed: {} })} />
      <Section title={said.who}>
        <Muted>{said.only}</Muted>
        <SplitPeople offer={offer} draft={draft} parts={parts} onChange={setDraft} />
        <p className="flex min-h-12 items-center justify-between gap-3 border-t border-line font-medium">
          <span>{said.yours}</span>
          <span>{formatMoney((isTooMuch ? 0n : remaining - asked).toString(), currency)}</span>
        </p>
      </Section>
      {isTooMuch && <Notice tone="bad">{said.tooMuch}</Notice>}
      <Button
        disabled={division === undefined || isTooMuch || form.sent.state === 'sending'}
        onClick={() => void send()}
      >
        {said.send}
      </Button>
      <Sending sent={form.sent} />
    </>
  );
}

function Ways({ by, onChange }: { readonly by: DivideBy; readonly onChange: (by: DivideBy) => void }) {
  return (
    <fieldset className="flex gap-2">
      <legend className="mb-1 text-sm font-medium">{said.how}</legend>
      {ways.map((way) => (
        <label
          key={way}
          className="flex min-h-12 flex-1 items-center justify-center rounded-xl border border-edge bg-card px-2 text-sm font-medium has-checked:border-accent has-checked:bg-soft has-focus-visible:outline-2 has-focus-visible:outline-accent"
        >
          <input
            type="radio"
            name="way"
            className="sr-only"
            checked={by === way}
            onChange={() => onChange(way)}
          />
          {said.by[way]}
        </label>
      ))}
    </fieldset>
  );
}
