/** A split and how far it is: the payer sees everybody's part, others their own. */
import { useQuery } from '@tanstack/react-query';
import type { Split } from '../lib/contract.ts';
import { formatMoney } from '../lib/money.ts';
import { queries } from '../lib/queries.ts';
import { timeText } from '../lib/time.ts';
import { Button, Chip, type Tone } from '../parts/controls.tsx';
import { useForm } from '../parts/form.ts';
import { Loaded, Muted, Page } from '../parts/page.tsx';
import { PersonLine } from '../parts/people.tsx';
import { Sending } from '../parts/sending.tsx';
import { texts } from '../texts.ts';
import { MyPart } from './split-parts.tsx';

const said = texts.split;
const toneOf: Readonly<Record<Split['parts'][number]['state'], Tone>> = {
  asked: 'wait',
  approved: 'good',
  declined: 'bad',
  expired: 'plain',
  cancelled: 'plain',
};

export function SplitPage({ splitId }: { readonly splitId: string }) {
  const split = useQuery(queries.split(splitId));
  return (
    <Page title={said.title}>
      <Loaded query={split}>{(split) => <SplitView split={split} />}</Loaded>
    </Page>
  );
}

function SplitView({ split }: { readonly split: Split }) {
  const cancel = useForm('cancelSplit');
  const mine = split.parts.find((part) => part.mine);
  const isAsked = split.parts.some((part) => part.state === 'asked');
  const approved = split.parts.filter((part) => part.state === 'approved').length;
  return (
    <>
      <p className="font-medium">{said.of(split.payer.name, split.paidTo)}</p>
      <div className="card">
        <p role="status">{said.progress(approved, split.parts.length)}</p>
        <progress
          className="mt-2 h-2 w-full accent-accent"
          aria-label={said.progress(approved, split.parts.length)}
          value={approved}
          max={split.parts.length}
        />
        <ul className="mt-2 divide-y divide-line" data-testid="parts">
          {split.parts.map((part) => (
            <li key={part.person.personId} className="row" data-state={part.state}>
              <PersonLine name={part.person.name} about={formatMoney(part.amountMinor, split.currency)}>
                <Chip tone={toneOf[part.state]}>{said.state[part.state]}</Chip>
              </PersonLine>
            </li>
          ))}
        </ul>
        <Muted>{texts.ask.until(timeText(split.expiresAt))}</Muted>
      </div>
      {mine?.state === 'asked' && <MyPart split={split} part={mine} />}
      {mine === undefined && isAsked && (
        <Button
          look="plain"
          disabled={cancel.sent.state === 'sending'}
          onClick={() =>
            void cancel.submit({
              title: said.sendTitle,
              type: 'split.cancel',
              fields: {},
              params: { splitId: split.splitId },
            })
          }
        >
          {said.withdraw}
        </Button>
      )}
      <Sending sent={cancel.sent} />
    </>
  );
}
