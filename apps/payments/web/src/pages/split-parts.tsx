/** Parts of other people's bills that I am asked for. */
import { useQuery } from '@tanstack/react-query';
import type { Split } from '../lib/contract.ts';
import { formatMoney } from '../lib/money.ts';
import { queries } from '../lib/queries.ts';
import { timeText } from '../lib/time.ts';
import { Button } from '../parts/controls.tsx';
import { useForm } from '../parts/form.ts';
import { Muted, Section } from '../parts/page.tsx';
import { Sending } from '../parts/sending.tsx';
import { texts } from '../texts.ts';

const said = texts.split;
type Part = Split['parts'][number];

export function PartsAskedOfMe() {
  const splits = useQuery(queries.splits()).data?.splits ?? [];
  const asked = splits.flatMap((split) =>
    split.parts.filter((part) => part.mine && part.state === 'asked').map((part) => ({ split, part })),
  );
  if (asked.length === 0) return null;
  return (
    <Section title={said.toMe}>
      <ul className="divide-y divide-line">
        {asked.map(({ split, part }) => (
          <li key={split.splitId} className="py-2">
            <MyPart split={split} part={part} />
          </li>
        ))}
      </ul>
    </Section>
  );
}

export function MyPart({ split, part }: { readonly split: Split; readonly part: Part }) {
  const approve = useForm('approvePart');
  const decline = useForm('declinePart');
  const params = { splitId: split.splitId };
  const title = said.approveTitle(split.payer.name);
  const isBusy = approve.sent.state === 'sending' || decline.sent.state === 'sending';
  return (
    <div className="flex flex-col gap-2">
      <p className="font-medium">{said.of(split.payer.name, split.paidTo)}</p>
      <Muted>{texts.ask.until(timeText(split.expiresAt))}</Muted>
      <div className="flex gap-3">
        <Button
          className="flex-1"
          disabled={isBusy}
          onClick={() => void approve.submit({ title, type: 'split.approve', fields: {}, params })}
        >
          {said.approve(formatMoney(part.amountMinor, split.currency))}
        </Button>
        <Button
          look="plain"
          disabled={isBusy}
          onClick={() => void decline.submit({ title, type: 'split.decline', fields: {}, params })}
        >
          {said.decline}
        </Button>
      </div>
      <Sending sent={approve.sent} />
      <Sending sent={decline.sent} />
    </div>
  );
}
