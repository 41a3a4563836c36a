/** What is kept about places: opting in and out, being seen, erasing. */
import { useMutation, useQueryClient } from '@tanstack/react-query';
import { useState } from 'react';
import { call } from '../lib/api.ts';
import type { Me } from '../lib/contract.ts';
import { queries } from '../lib/queries.ts';
import { Button, Check, Notice } from '../parts/controls.tsx';
import { LocationCard } from '../parts/location-card.tsx';
import { errorText, Section } from '../parts/page.tsx';
import { texts } from '../texts.ts';

const said = texts.account;

export function PrivacySection({ me }: { readonly me: Me }) {
  const client = useQueryClient();
  const privacy = useMutation({
    mutationFn: (change: Partial<Me['privacy']>) => call('setPrivacy', { ...me.privacy, ...change }),
    onSuccess: (now) => {
      client.setQueryData(queries.me().queryKey, now);
      return client.invalidateQueries({ queryKey: ['nearby'] });
    },
  });
  // What was just chosen is shown at once; a refusal puts it back and says why.
  const shown = privacy.isPending ? { ...me.privacy, ...privacy.variables } : me.privacy;
  return (
    <Section title={said.privacy}>
      <LocationCard me={me} />
      <Check
        label={said.optIn}
        checked={shown.locationOptIn}
        disabled={privacy.isPending}
        onChange={(event) => privacy.mutate({ locationOptIn: event.target.checked })}
      />
      <Check
        label={said.visible}
        checked={shown.visibleToContacts}
        disabled={privacy.isPending}
        onChange={(event) => privacy.mutate({ visibleToContacts: event.target.checked })}
      />
      {privacy.isError && <Notice tone="bad">{errorText(privacy.error)}</Notice>}
      <Erase />
    </Section>
  );
}

/** Asks once more: what is erased does not come back. */
function Erase() {
  const client = useQueryClient();
  const [isSure, setSure] = useState(false);
  const erase = useMutation({
    mutationFn: () => call('eraseLocation'),
    onSettled: () => {
      setSure(false);
      return client.invalidateQueries({ queryKey: ['nearby'] });
    },
  });
  return (
    <div className="mt-2 flex flex-col gap-2">
      {isSure && <p>{said.eraseSure}</p>}
      <div className="flex gap-3">
        <Button
          look="danger"
          className="flex-1"
          disabled={erase.isPending}
          onClick={() => (isSure ? erase.mutate() : setSure(true))}
        >
          {said.erase}
        </Button>
        {isSure && (
          <Button look="plain" onClick={() => setSure(false)}>
            {texts.cancel}
          </Button>
        )}
      </div>
      {erase.isSuccess && <Notice tone="good">{said.erased(erase.data.erased)}</Notice>}
      {erase.isError && <Notice tone="bad">{errorText(erase.error)}</Notice>}
    </div>
  );
}
