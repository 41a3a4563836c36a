/** Amount and note, with one button: paying, asking, charging. */
import { type ReactNode, useState } from 'react';
import type { Currency, Money } from '../lib/contract.ts';
import { formatMoney, parseAmount } from '../lib/money.ts';
import { texts } from '../texts.ts';
import { Button, Field } from './controls.tsx';

interface MoneyFormProps {
  readonly currency: Currency;
  readonly action: string;
  readonly isBusy: boolean;
  /** An amount that is given and not chosen. */
  readonly fixed?: Money;
  readonly children?: ReactNode;
  onSend(money: Money, note: string): void;
}

export function MoneyForm({ currency, action, isBusy, fixed, children, onSend }: MoneyFormProps) {
  const [text, setText] = useState('');
  const [note, setNote] = useState('');
  const [isTold, setTold] = useState(false);
  const amountMinor = fixed?.amountMinor ?? parseAmount(text, currency);
  return (
    <form
      className="flex flex-col gap-4"
      noValidate
      onSubmit={(event) => {
        event.preventDefault();
        setTold(true);
        if (amountMinor !== undefined)
          onSend({ amountMinor, currency: fixed?.currency ?? currency }, note.trim());
      }}
    >
      {fixed === undefined ? (
        <Field
          label={`${texts.pay.amount} (${currency})`}
          inputMode="decimal"
          autoComplete="off"
          className="text-xl font-semibold"
          value={text}
          wrong={isTold && amountMinor === undefined ? texts.pay.amountWrong : undefined}
          onChange={(event) => setText(event.target.value)}
        />
      ) : (
        <p className="text-2xl font-semibold">{formatMoney(fixed.amountMinor, fixed.currency)}</p>
      )}
      {children}
      {fixed === undefined && (
        <Field
          label={texts.pay.note}
          maxLength={140}
          autoComplete="off"
          value={note}
          onChange={(event) => setNote(event.target.value)}
        />
      )}
      <Button type="submit" disabled={isBusy}>
        {amountMinor === undefined
          ? action
          : `${action} ${formatMoney(amountMinor, fixed?.currency ?? currency)}`}
      </Button>
    </form>
  );
}
