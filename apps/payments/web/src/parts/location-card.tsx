/** Location, explained before the browser asks, and how it stands afterwards. */
import { useQuery } from '@tanstack/react-query';
import { useState } from 'react';
import type { Me } from '../lib/contract.ts';
import { reportNow, whereabouts } from '../lib/location.ts';
import { queries } from '../lib/queries.ts';
import { texts } from '../texts.ts';
import { Button } from './controls.tsx';
import { Muted } from './page.tsx';

const said = texts.location;

export function LocationCard({ me }: { readonly me: Me }) {
  const state = whereabouts.use();
  const [isPutOff, setPutOff] = useState(false);
  if (!me.privacy.locationOptIn) return <Line text={said.optedOut} />;
  if (state.permission === 'unsupported') return <Line text={said.unsupported} />;
  if (state.permission === 'denied') return <Line text={said.denied} />;
  if (state.permission === 'prompt')
    return isPutOff ? (
      <Line text={said.asked} action={said.explain} onAction={() => setPutOff(false)} />
    ) : (
      <Explanation me={me} onPutOff={() => setPutOff(true)} />
    );
  if (state.problem !== undefined)
    return <Line text={state.problem} action={texts.retry} onAction={() => void reportNow(me.personId)} />;
  if (state.last === undefined) return <Line text={said.waiting} />;
  return (
    <Line
      text={state.last.standing === 'suspect' ? said.suspect : said.on(Math.round(state.last.accuracyM))}
    />
  );
}

/** Keeps its height whatever it says, so that the list below does not jump. */
function Line({
  text,
  action,
  onAction,
}: {
  readonly text: string;
  readonly action?: string;
  readonly onAction?: () => void;
}) {
  return (
    <div className="flex min-h-12 items-center gap-3" role="status">
      <p className="flex-1 text-sm text-muted">{text}</p>
      {action !== undefined && (
        <Button look="plain" onClick={onAction}>
          {action}
        </Button>
      )}
    </div>
  );
}

function Explanation({ me, onPutOff }: { readonly me: Me; readonly onPutOff: () => void }) {
  const about = useQuery(queries.about()).data?.retention;
  return (
    <section className="card flex flex-col gap-2" aria-label={said.title}>
      <h2 className="font-semibold">{said.title}</h2>
      <p>{said.why}</p>
      <Muted>{said.keeps(about?.precisePositionMinutes ?? 10, about?.coarseCellDays ?? 30)}</Muted>
      <Muted>{said.without}</Muted>
      <div className="mt-2 flex gap-3">
        <Button className="flex-1" onClick={() => void reportNow(me.personId)}>
          {said.share}
        </Button>
        <Button look="plain" onClick={onPutOff}>
          {said.notNow}
        </Button>
      </div>
    </section>
  );
}
