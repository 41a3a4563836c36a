/** Asks: those made of me, and those that I made. */
import { useMutation, useQuery, useQueryClient } from '@tanstack/react-query';
import { call } from '../lib/api.ts';
import type { Ask } from '../lib/contract.ts';
import { formatMoney } from '../lib/money.ts';
import { queries } from '../lib/queries.ts';
import { timeText } from '../lib/time.ts';
import { Button, Chip, Link, Notice, type Tone } from '../parts/controls.tsx';
import { errorText, Section } from '../parts/page.tsx';
import { texts } from '../texts.ts';

const said = texts.ask;
const toneOf: Readonly<Record<Ask['state'], Tone>> = {
  open: 'wait',
  paid: 'good',
  declined: 'bad',
  cancelled: 'plain',
  expired: 'plain',
};
const shownMax = 10;

/** Closing an ask twice is the same as once, so it needs no key. */
function useClose() {
  const client = useQueryClient();
  return useMutation({
    mutationFn: (askId: string) => call('closeAsk', {}, { params: { askId } }),
    onSettled: () => client.invalidateQueries({ queryKey: ['asks'] }),
  });
}

export function AsksToMe() {
  const asks = useQuery(queries.asks());
  const close = useClose();
  const open = asks.data?.asks.filter((ask) => ask.direction === 'to_me' && ask.state === 'open') ?? [];
  if (open.length === 0) return null;
  return (
    <Section title={said.toMe}>
      {close.isError && <Notice tone="bad">{errorText(close.error)}</Notice>}
      <ul className="divide-y divide-line">
        {open.map((ask) => (
          <li key={ask.askId} className="py-2">
            <AskLine ask={ask} name={said.asksYou(ask.payee.name)} />
            <div className="flex gap-3">
              <Link
                to={`/code/${ask.askId}`}
                className="flex min-h-12 flex-1 items-center justify-center rounded-xl bg-accent font-semibold text-on-accent"
              >
                {texts.pay.sendMoney(formatMoney(ask.money.amountMinor, ask.money.currency))}
              </Link>
              <Button look="plain" disabled={close.isPending} onClick={() => close.mutate(ask.askId)}>
                {said.decline}
              </Button>
            </div>
          </li>
        ))}
      </ul>
    </Section>
  );
}

export function AsksByMe() {
  const asks = useQuery(queries.asks());
  const close = useClose();
  const mine = asks.data?.asks.filter((ask) => ask.direction === 'by_me').slice(0, shownMax) ?? [];
  if (mine.length === 0) return null;
  return (
    <Section title={said.byMe}>
      {close.isError && <Notice tone="bad">{errorText(close.error)}</Notice>}
      <ul className="divide-y divide-line" data-testid="asked">
        {mine.map((ask) => (
          <li key={ask.askId} className="py-2" data-state={ask.state}>
            <AskLine ask={ask} name={said.youAsk(ask.from?.name ?? said.anyone)} />
            {ask.state === 'open' && (
              <Button look="plain" disabled={close.isPending} onClick={() => close.mutate(ask.askId)}>
                {texts.cancel}
              </Button>
            )}
          </li>
        ))}
      </ul>
    </Section>
  );
}

const AskLine = ({ ask, name }: { readonly ask: Ask; readonly name: string }) => (
  <div className="flex items-center justify-between gap-3 pb-2">
    <span className="min-w-0">
      <span className="block truncate font-medium">
        {name} · {formatMoney(ask.money.amountMinor, ask.money.currency)}
      </span>
      <span className="block truncate text-sm text-muted">
        {said.until(timeText(ask.expiresAt))}
        {ask.note !== '' && ` · ${ask.note}`}
      </span>
    </span>
    <Chip tone={toneOf[ask.state]}>{said.state[ask.state]}</Chip>
  </div>
);
