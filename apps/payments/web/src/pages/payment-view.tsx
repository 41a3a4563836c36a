/** A payment: the amount, who, how it stands, why, and what can be done. */
import type { Payment } from '../lib/contract.ts';
import { formatMoney } from '../lib/money.ts';
import { timeText } from '../lib/time.ts';
import { Chip, Link, type Tone } from '../parts/controls.tsx';
import { Section } from '../parts/page.tsx';
import { reasons, texts } from '../texts.ts';
import { Confirmation } from './confirmation.tsx';

const said = texts.payment;
export const toneOf: Readonly<Record<Payment['state'], Tone>> = {
  completed: 'good',
  awaiting_confirmation: 'wait',
  declined: 'bad',
  expired: 'bad',
};

export function headOf(payment: Payment): string {
  if (payment.direction === 'out') return said.outHead[payment.state];
  // The payer's own device confirms: there is nothing for the payee to do.
  return payment.confirmation?.by === 'own_device'
    ? said.outHead.awaiting_confirmation
    : said.inHead[payment.state];
}

export function PaymentView({ payment }: { readonly payment: Payment }) {
  const { counterpart, money, state } = payment;
  return (
    <>
      <div className="card" data-testid="payment" data-state={state}>
        <p className="text-2xl font-semibold">{formatMoney(money.amountMinor, money.currency)}</p>
        <p className="mt-1 flex items-center justify-between gap-3">
          <span className="min-w-0 truncate">
            {payment.direction === 'out'
              ? texts.activity.paid(counterpart.name)
              : texts.activity.got(counterpart.name)}
          </span>
          <Chip tone={toneOf[state]}>{said.state[state]}</Chip>
        </p>
        {payment.note !== '' && <p className="mt-2">{payment.note}</p>}
        <p className="mt-2 text-sm text-muted">{timeText(payment.at)}</p>
      </div>
      {payment.reasons.length > 0 && (
        <Section title={said.why}>
          <ul className="flex flex-col gap-1">
            {payment.reasons.map((reason) => (
              <li key={reason} data-reason={reason}>
                {reasons[reason]}
              </li>
            ))}
          </ul>
        </Section>
      )}
      {payment.confirmation !== undefined && (
        <Confirmation payment={payment} confirmation={payment.confirmation} />
      )}
      {payment.splittable && (
        <Link
          to={`/split-bill/${payment.paymentId}`}
          className="flex min-h-12 items-center justify-center rounded-xl bg-accent font-semibold text-on-accent"
        >
          {said.split}
        </Link>
      )}
    </>
  );
}
