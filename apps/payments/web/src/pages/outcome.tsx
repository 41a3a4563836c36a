/** What became of a payment, live: it is read again when an event tells of it. */
import { useQuery } from '@tanstack/react-query';
import type { Payment } from '../lib/contract.ts';
import { queries } from '../lib/queries.ts';
import { Link } from '../parts/controls.tsx';
import { Page } from '../parts/page.tsx';
import { texts } from '../texts.ts';
import { headOf, PaymentView } from './payment-view.tsx';

export function Outcome({ payment }: { readonly payment: Payment }) {
  const latest = useQuery({ ...queries.payment(payment.paymentId), initialData: payment });
  return (
    <Page title={headOf(latest.data)}>
      <PaymentView payment={latest.data} />
      <Link
        to="/activity"
        className="flex min-h-12 items-center justify-center rounded-xl border border-edge font-semibold"
      >
        {texts.pay.done}
      </Link>
    </Page>
  );
}
