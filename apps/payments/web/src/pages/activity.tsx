/** Payments in and out, newest first, each with how it stands and why. */
import { useQuery } from '@tanstack/react-query';
import { useState } from 'react';
import type { Payment } from '../lib/contract.ts';
import { formatMoney } from '../lib/money.ts';
import { queries } from '../lib/queries.ts';
import { timeText } from '../lib/time.ts';
import { Button, Chip, Link } from '../parts/controls.tsx';
import { Loaded, Muted, Page } from '../parts/page.tsx';
import { reasons, texts } from '../texts.ts';
import { toneOf } from './payment-view.tsx';
import { SplitList } from './split-list.tsx';

const pageItems = { first: 20, max: 100 } as const;

export function ActivityPage() {
  const [limit, setLimit] = useState<number>(pageItems.first);
  const activity = useQuery(queries.activity(limit));
  return (
    <Page title={texts.activity.title}>
      <SplitList />
      <Loaded query={activity} rows={6}>
        {({ items, next }) => (
          <>
            {items.length === 0 && <Muted>{texts.none}</Muted>}
            <ul className="flex flex-col gap-2" data-testid="activity">
              {items.map((payment) => (
                <PaymentRow key={payment.paymentId} payment={payment} />
              ))}
            </ul>
            {next !== undefined && limit < pageItems.max && (
              <Button look="plain" onClick={() => setLimit(Math.min(pageItems.max, limit * 2))}>
                {texts.activity.more}
              </Button>
            )}
          </>
        )}
      </Loaded>
    </Page>
  );
}

export function PaymentRow({ payment }: { readonly payment: Payment }) {
  const { counterpart, money, state } = payment;
  const [reason] = payment.reasons;
  const isOut = payment.direction === 'out';
  return (
    <li data-state={state}>
      <Link to={`/payment/${payment.paymentId}`} className="card block">
        <span className="flex items-baseline justify-between gap-3">
          <span className="min-w-0 truncate font-medium">
            {isOut ? texts.activity.paid(counterpart.name) : texts.activity.got(counterpart.name)}
          </span>
          <span className="shrink-0 font-semibold">
            {isOut ? '−' : '+'}
            {formatMoney(money.amountMinor, money.currency)}
          </span>
        </span>
        <span className="mt-1 flex items-center justify-between gap-3">
          <span className="text-sm text-muted">
            {timeText(payment.at)}
            {reason !== undefined && ` · ${reasons[reason]}`}
          </span>
          <Chip tone={toneOf[state]}>{texts.payment.state[state]}</Chip>
        </span>
      </Link>
    </li>
  );
}
