/** Paying: the position first, so that the decision has a fresh one, then the payment through the outbox. */
import type { Me, Money, Payee, Payment } from '../lib/contract.ts';
import { reportNow, whereabouts } from '../lib/location.ts';
import { formatMoney } from '../lib/money.ts';
import { type Sent, useForm } from '../parts/form.ts';
import { texts } from '../texts.ts';

/** A decision takes positions up to two minutes old; a younger one than this need not be measured again. */
const freshMs = 10_000;

export function usePaying(me: Me): {
  readonly sent: Sent<Payment>;
  pay(payee: Payee, money: Money, note: string, name: string): void;
} {
  const form = useForm('pay');
  const measure = async (): Promise<void> => {
    const { permission, last } = whereabouts.get();
    const isFresh = last !== undefined && Date.now() - last.at < freshMs;
    if (me.privacy.locationOptIn && permission === 'granted' && !isFresh) await reportNow(me.personId);
  };
  return {
    sent: form.sent,
    pay: (payee, money, note, name) =>
      void form.submit(
        {
          title: `${texts.pay.title2(name)} · ${formatMoney(money.amountMinor, money.currency)}`,
          type: 'payment',
          fields: { payee, money, note },
        },
        measure,
      ),
  };
}
