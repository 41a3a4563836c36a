/** One's account: rules, privacy, contacts and partners, devices. */
import { useMutation, useQuery, useQueryClient } from '@tanstack/react-query';
import { call } from '../lib/api.ts';
import type { Me } from '../lib/contract.ts';
import { startAs } from '../lib/forget.ts';
import { queries } from '../lib/queries.ts';
import { timeText } from '../lib/time.ts';
import { Button, Link, Notice } from '../parts/controls.tsx';
import { errorText, Loaded, Page, Section } from '../parts/page.tsx';
import { texts } from '../texts.ts';
import { ContactsSection } from './contacts.tsx';
import { PrivacySection } from './privacy.tsx';
import { RulesSection } from './rules-form.tsx';

const said = texts.account;

export function AccountPage({ me }: { readonly me: Me }) {
  const client = useQueryClient();
  const signOut = useMutation({
    mutationFn: () => call('signOut', {}),
    onSuccess: () => startAs(client),
  });
  return (
    <Page title={said.title}>
      <p className="-mt-3 text-muted">{me.handle}</p>
      <PrivacySection me={me} />
      <RulesSection currency={me.currency} />
      <ContactsSection />
      <DevicesSection personId={me.personId} />
      <Link
        to="/statement"
        className="flex min-h-12 items-center justify-center rounded-xl border border-edge font-semibold"
      >
        {texts.statement.title}
      </Link>
      {signOut.isError && <Notice tone="bad">{errorText(signOut.error)}</Notice>}
      <Button look="plain" disabled={signOut.isPending} onClick={() => signOut.mutate()}>
        {said.signOut}
      </Button>
    </Page>
  );
}

function DevicesSection({ personId }: { readonly personId: string }) {
  const client = useQueryClient();
  const devices = useQuery(queries.devices());
  const own = useQuery(queries.ownDevice(personId));
  const remove = useMutation({
    mutationFn: (deviceId: string) => call('removeDevice', undefined, { params: { deviceId } }),
    onSettled: () => client.invalidateQueries({ queryKey: ['devices'] }),
  });
  return (
    <Section title={said.devices}>
      {remove.isError && <Notice tone="bad">{errorText(remove.error)}</Notice>}
      <Loaded query={devices}>
        {({ devices }) => (
          <ul className="divide-y divide-line">
            {devices.map(({ deviceId, name, addedAt }) => (
              <li key={deviceId} className="row">
                <span className="min-w-0 flex-1">
                  <span className="block truncate">{name}</span>
                  <span className="text-sm text-muted">
                    {timeText(addedAt)}
                    {own.data?.deviceId === deviceId && ` · ${said.thisDevice}`}
                  </span>
                </span>
                {own.data?.deviceId !== deviceId && (
                  <Button look="plain" disabled={remove.isPending} onClick={() => remove.mutate(deviceId)}>
                    {said.remove}
                  </Button>
                )}
              </li>
            ))}
          </ul>
        )}
      </Loaded>
    </Section>
  );
}
