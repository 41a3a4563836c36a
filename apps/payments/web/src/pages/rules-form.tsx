/** The account's rules, signed by this device when they are saved. */
import { useQuery } from '@tanstack/react-query';
import { useState } from 'react';
import type { Currency, Rules } from '../lib/contract.ts';
import { decimalText, parseAllowance } from '../lib/money.ts';
import { queries } from '../lib/queries.ts';
import { useSigned } from '../lib/use-signed.ts';
import { Button, Check, Field, Notice, Select } from '../parts/controls.tsx';
import { errorText, Loaded, Section } from '../parts/page.tsx';
import { texts } from '../texts.ts';

const said = texts.account;
const thresholdM = { min: 5, max: 1_000 } as const;

const amountFields = ['allowBelowMinor', 'perPaymentMaxMinor', 'perDayMaxMinor'] as const;
type AmountField = (typeof amountFields)[number];
const amountLabels: Readonly<Record<AmountField, string>> = {
  allowBelowMinor: said.below,
  perPaymentMaxMinor: said.perPayment,
  perDayMaxMinor: said.perDay,
};

/** A select gives text: the option that it names, or what stood there. */
const pick = <Key extends string>(options: Readonly<Record<Key, string>>, value: string, before: Key): Key =>
  (Object.keys(options) as Key[]).find((key) => key === value) ?? before;

export function RulesSection({ currency }: { readonly currency: Currency }) {
  const rules = useQuery(queries.rules());
  const save = useSigned('setRules', 'rules.set');
  return (
    <Section title={said.rules}>
      <Loaded query={rules} rows={6}>
        {(rules) => (
          // Rules that were changed elsewhere start the form anew.
          <RulesForm
            key={JSON.stringify(rules)}
            rules={rules}
            currency={currency}
            isBusy={save.isPending}
            onSave={(rules) => save.mutate({ rules })}
          />
        )}
      </Loaded>
      {save.isSuccess && <Notice tone="good">{said.saved}</Notice>}
      {save.isError && <Notice tone="bad">{errorText(save.error)}</Notice>}
    </Section>
  );
}

interface RulesFormProps {
  readonly rules: Rules;
  readonly currency: Currency;
  readonly isBusy: boolean;
  onSave(rules: Rules): void;
}

function RulesForm({ rules, currency, isBusy, onSave }: RulesFormProps) {
  const [draft, setDraft] = useState(rules);
  const [threshold, setThreshold] = useState(`${rules.thresholdM}`);
  const [amounts, setAmounts] = useState<Record<AmountField, string>>({
    allowBelowMinor: decimalText(rules.allowBelowMinor, currency),
    perPaymentMaxMinor: decimalText(rules.perPaymentMaxMinor, currency),
    perDayMaxMinor: decimalText(rules.perDayMaxMinor, currency),
  });
  const change = (part: Partial<Rules>): void => setDraft({ ...draft, ...part });
  const metres = Number(threshold);
  const isThreshold = metres >= thresholdM.min && metres <= thresholdM.max;
  const minor = (field: AmountField): string | undefined => parseAllowance(amounts[field], currency);
  const isWhole = isThreshold && amountFields.every((field) => minor(field) !== undefined);
  return (
    <form
      className="flex flex-col gap-4"
      onSubmit={(event) => {
        event.preventDefault();
        if (!isWhole) return;
        const limits = Object.fromEntries(amountFields.map((field) => [field, minor(field)]));
        onSave({ ...draft, ...limits, thresholdM: metres });
      }}
    >
      <Select
        label={said.mode}
        options={said.modes}
        value={draft.mode}
        onChange={(event) => change({ mode: pick(said.modes, event.target.value, draft.mode) })}
      />
      <Field
        label={said.threshold}
        inputMode="numeric"
        value={threshold}
        wrong={isThreshold ? undefined : `${thresholdM.min}–${thresholdM.max}`}
        onChange={(event) => setThreshold(event.target.value)}
      />
      <Select
        label={said.onFar}
        options={said.answers}
        value={draft.onFar}
        onChange={(event) => change({ onFar: pick(said.answers, event.target.value, draft.onFar) })}
      />
      <Select
        label={said.onUnknown}
        options={said.answers}
        value={draft.onUnknown}
        onChange={(event) => change({ onUnknown: pick(said.answers, event.target.value, draft.onUnknown) })}
      />
      <Select
        label={said.stepUpBy}
        options={said.stepUp}
        value={draft.stepUpBy}
        onChange={(event) => change({ stepUpBy: pick(said.stepUp, event.target.value, draft.stepUpBy) })}
      />
      {amountFields.map((field) => (
        <Field
          key={field}
          label={`${amountLabels[field]} (${currency})`}
          inputMode="decimal"
          value={amounts[field]}
          wrong={minor(field) === undefined ? texts.pay.amountWrong : undefined}
          onChange={(event) => setAmounts({ ...amounts, [field]: event.target.value })}
        />
      ))}
      <div>
        <Check
          label={said.carrier}
          checked={draft.carrierRequired}
          onChange={(event) => change({ carrierRequired: event.target.checked })}
        />
        <Check
          label={said.partnersOnly}
          checked={draft.partner.required}
          onChange={(event) => change({ partner: { ...draft.partner, required: event.target.checked } })}
        />
      </div>
      <Button type="submit" disabled={!isWhole || isBusy}>
        {said.save}
      </Button>
    </form>
  );
}
