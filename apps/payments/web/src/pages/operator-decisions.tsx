/** Decisions, newest first, with what the engine was given; the cells of those shown on a map. */
import { keepPreviousData, useMutation, useQuery } from '@tanstack/react-query';
import { useState } from 'react';
import { call } from '../lib/api.ts';
import type { OperatorDecision } from '../lib/contract.ts';
import { formatMoney } from '../lib/money.ts';
import { timeText } from '../lib/time.ts';
import { Button, Chip, Notice, Select, type Tone } from '../parts/controls.tsx';
import { errorText, Loaded, Muted, Section } from '../parts/page.tsx';
import { reasons, texts } from '../texts.ts';
import { DecisionMap } from './operator-map.tsx';

const said = texts.operator;
const shown = '50';
const everyMs = 5_000;
type Answer = OperatorDecision['answer'];
const toneOf: Readonly<Record<Answer, Tone>> = { allow: 'good', decline: 'bad', step_up: 'wait' };

export function Decisions() {
  const [answer, setAnswer] = useState<Answer | ''>('');
  const [chosen, setChosen] = useState<string>();
  const decisions = useQuery({
    queryKey: ['operatorDecisions', answer],
    queryFn: () =>
      call('operatorDecisions', undefined, { query: { limit: shown, ...(answer !== '' && { answer }) } }),
    refetchInterval: everyMs,
    placeholderData: keepPreviousData,
  });
  return (
    <div className="grid gap-4 md:grid-cols-2">
      <Section title={said.map}>
        <Loaded query={decisions} rows={8}>
          {({ decisions }) => <DecisionMap decisions={decisions} chosen={chosen} />}
        </Loaded>
      </Section>
      <Section title={said.decisions}>
        <Select
          label={said.answer}
          value={answer}
          options={{ '': said.all, ...said.answers }}
          onChange={(event) => setAnswer(asAnswer(event.target.value))}
        />
        <Loaded query={decisions} rows={8}>
          {({ decisions }) => (
            <ul className="mt-2 divide-y divide-line" data-testid="decisions">
              {decisions.length === 0 && <Muted>{texts.none}</Muted>}
              {decisions.map((decision) => (
                <DecisionRow
                  key={decision.decisionId}
                  decision={decision}
                  onOpen={() => setChosen(decision.decisionId)}
                />
              ))}
            </ul>
          )}
        </Loaded>
      </Section>
    </div>
  );
}

const asAnswer = (value: string): Answer | '' =>
  value === 'allow' || value === 'decline' || value === 'step_up' ? value : '';

function DecisionRow({
  decision,
  onOpen,
}: {
  readonly decision: OperatorDecision;
  readonly onOpen: () => void;
}) {
  const [isOpen, setOpen] = useState(false);
  return (
    <li>
      <details
        onToggle={(event) => {
          setOpen(event.currentTarget.open);
          if (event.currentTarget.open) onOpen();
        }}
      >
        <summary className="py-3">
          {decision.payer.name} → {decision.payee.name} ·{' '}
          {formatMoney(decision.amountMinor, decision.currency)}{' '}
          <Chip tone={toneOf[decision.answer]}>{said.answers[decision.answer]}</Chip>
          <span className="block text-sm text-muted">
            {timeText(decision.at)} · {decision.reasons.map((reason) => reasons[reason]).join(' ')}
          </span>
        </summary>
        {isOpen && <Inputs decision={decision} />}
      </details>
    </li>
  );
}

function Inputs({ decision }: { readonly decision: OperatorDecision }) {
  const replay = useMutation({
    mutationFn: () => call('operatorReplay', {}, { params: { decisionId: decision.decisionId } }),
  });
  const { probability, distanceM, thresholdM } = decision;
  return (
    <div className="flex flex-col gap-2 pb-4 text-sm">
      <p>
        {said.probability} ({thresholdM} m):{' '}
        {probability === null ? '–' : `${(probability * 100).toFixed(1)} %`}
        {distanceM !== null && ` · ${Math.round(distanceM)} m`}
      </p>
      <Side title={said.payer} side={decision.payerSide} />
      <Side title={said.payee} side={decision.payeeSide} />
      <details>
        <summary>{said.inputs}</summary>
        <pre className="rounded-xl bg-paper p-2 break-all whitespace-pre-wrap">
          {JSON.stringify(decision.inputs, null, 1)}
        </pre>
      </details>
      <Button look="plain" disabled={replay.isPending} onClick={() => replay.mutate()}>
        {said.replay}
      </Button>
      {replay.isSuccess && (
        <Notice tone={replay.data.same ? 'good' : 'bad'}>{replay.data.same ? said.same : said.other}</Notice>
      )}
      {replay.isError && <Notice tone="bad">{errorText(replay.error)}</Notice>}
    </div>
  );
}

const Side = ({ title, side }: { readonly title: string; readonly side: OperatorDecision['payerSide'] }) => (
  <p>
    {title}: {side.source ?? '–'}
    {side.accuracyM !== null && ` ±${Math.round(side.accuracyM)} m`}
    {side.ageS !== null && `, ${Math.round(side.ageS)} s`} · {side.standing} · {said.carrier} {side.carrier}
  </p>
);
