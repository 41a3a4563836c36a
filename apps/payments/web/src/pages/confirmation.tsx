/** A step-up: the payer shows a code, the payee types it; or another device of the payer confirms. */
import { useQuery } from '@tanstack/react-query';
import { useState } from 'react';
import type { Payment } from '../lib/contract.ts';
import { queries } from '../lib/queries.ts';
import { timeText } from '../lib/time.ts';
import { Button, Field, Notice } from '../parts/controls.tsx';
import { useForm } from '../parts/form.ts';
import { Muted, Section } from '../parts/page.tsx';
import { Sending } from '../parts/sending.tsx';
import { texts } from '../texts.ts';

const said = texts.payment;

interface ConfirmationProps {
  readonly payment: Payment;
  readonly confirmation: NonNullable<Payment['confirmation']>;
}

export function Confirmation({ payment, confirmation }: ConfirmationProps) {
  const [code, setCode] = useState('');
  const confirm = useForm('confirmPayment');
  const refuse = useForm('refusePayment');
  const params = { paymentId: payment.paymentId };
  const title = payment.counterpart.name;
  const isWrong = confirm.sent.state === 'answered' && confirm.sent.answer.state === 'awaiting_confirmation';
  const me = useQuery(queries.me()).data;
  const own = useQuery({ ...queries.ownDevice(me?.personId ?? ''), enabled: me !== undefined });
  const isPaying = own.data?.deviceId === confirmation.payingDeviceId && own.data !== null;
  const mayConfirm = confirmation.mine && own.isFetched && !isPaying;
  const asksCode = mayConfirm && confirmation.by === 'payee_device';
  return (
    <Section title={said.state.awaiting_confirmation}>
      <div className="flex flex-col gap-4">
        {confirmation.code !== undefined && (
          <div>
            <p>{said.codeShown(payment.counterpart.name)}</p>
            <p className="text-2xl font-semibold tracking-widest" data-testid="code">
              {confirmation.code}
            </p>
          </div>
        )}
        {confirmation.by === 'own_device' && isPaying && <p>{said.ownDevice}</p>}
        {isWrong && <Notice tone="bad">{said.wrong}</Notice>}
        {mayConfirm && (
          <form
            className="flex flex-col gap-4"
            onSubmit={(event) => {
              event.preventDefault();
              void confirm.submit({ title, type: 'payment.confirm', fields: { code: code.trim() }, params });
            }}
          >
            {asksCode && (
              <Field
                label={said.codeAsk}
                inputMode="numeric"
                autoComplete="off"
                required
                maxLength={12}
                className="text-xl font-semibold tracking-widest"
                value={code}
                onChange={(event) => setCode(event.target.value)}
              />
            )}
            <Button type="submit" disabled={confirm.sent.state === 'sending'}>
              {said.confirm}
            </Button>
          </form>
        )}
        <Button
          look="plain"
          disabled={refuse.sent.state === 'sending'}
          onClick={() => void refuse.submit({ title, type: 'payment.refuse', fields: {}, params })}
        >
          {payment.direction === 'out' ? texts.cancel : said.refuse}
        </Button>
        <Sending sent={confirm.sent} />
        <Sending sent={refuse.sent} />
        <Muted>{said.until(timeText(confirmation.expiresAt))}</Muted>
      </div>
    </Section>
  );
}
