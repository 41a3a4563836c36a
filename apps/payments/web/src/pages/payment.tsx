/** One payment by its address. */
import { useQuery } from '@tanstack/react-query';
import { queries } from '../lib/queries.ts';
import { Loaded, Page } from '../parts/page.tsx';
import { texts } from '../texts.ts';
import { headOf, PaymentView } from './payment-view.tsx';

export function PaymentPage({ paymentId }: { readonly paymentId: string }) {
  const payment = useQuery(queries.payment(paymentId));
  return (
    <Page title={payment.data === undefined ? texts.payment.title : headOf(payment.data)}>
      <Loaded query={payment} rows={4}>
        {(payment) => <PaymentView payment={payment} />}
      </Loaded>
    </Page>
  );
}
