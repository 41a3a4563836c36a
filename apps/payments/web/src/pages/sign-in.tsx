/** Signing in: by passkey, or in demo mode as anybody of the cast. */
import { startAuthentication, WebAuthnError } from '@simplewebauthn/browser';
import { useQuery, useQueryClient } from '@tanstack/react-query';
import { useState } from 'react';
import { call } from '../lib/api.ts';
import type { Me } from '../lib/contract.ts';
import { startAs } from '../lib/forget.ts';
import { queries } from '../lib/queries.ts';
import { Button, Notice } from '../parts/controls.tsx';
import { errorText, Loaded, Muted, Page, Section } from '../parts/page.tsx';
import { PersonLine } from '../parts/people.tsx';
import { texts } from '../texts.ts';
import { SignUpForm } from './sign-up.tsx';

const said = texts.signIn;

/** A dialog that was closed is no fault. */
export const isCancelled = (error: unknown): boolean =>
  error instanceof WebAuthnError || (error instanceof Error && error.name === 'NotAllowedError');

export function SignInPage() {
  const client = useQueryClient();
  const about = useQuery(queries.about());
  const [problem, setProblem] = useState('');
  const attempt = (signIn: () => Promise<Me>): void => {
    setProblem('');
    signIn().then(
      (me) => startAs(client, me),
      (error: unknown) => setProblem(isCancelled(error) ? said.cancelled : errorText(error)),
    );
  };
  return (
    <Page title={texts.appName}>
      <p className="-mt-3 text-muted">{texts.tagline}</p>
      {problem !== '' && <Notice tone="bad">{problem}</Notice>}
      <Button onClick={() => attempt(withPasskey)}>{said.passkey}</Button>
      <details className="card">
        <summary className="min-h-6 font-semibold">{said.newHere}</summary>
        <SignUpForm currencies={about.data?.currencies ?? ['EUR']} onSend={attempt} />
      </details>
      {about.data?.mode === 'demo' && (
        <DemoPeople onChoose={(handle) => attempt(() => call('demoSignIn', { handle }))} />
      )}
    </Page>
  );
}

async function withPasskey(): Promise<Me> {
  const { challengeId, options } = await call('passkeySignInOptions', {});
  const response = await startAuthentication({
    optionsJSON: options as unknown as Parameters<typeof startAuthentication>[0]['optionsJSON'],
  });
  return call('passkeySignIn', { challengeId, response: { ...response } });
}

function DemoPeople({ onChoose }: { readonly onChoose: (handle: string) => void }) {
  const people = useQuery(queries.demoPeople());
  return (
    <Section title={said.demo}>
      <Muted>{said.demoHint}</Muted>
      <Loaded query={people} rows={6}>
        {({ people }) => (
          <ul className="mt-2 divide-y divide-line">
            {people.map((person) => (
              <li key={person.personId}>
                <button type="button" className="row" onClick={() => onChoose(person.handle)}>
                  <PersonLine name={person.name} about={`${person.handle} · ${said[person.role]}`} />
                </button>
              </li>
            ))}
          </ul>
        )}
      </Loaded>
    </Section>
  );
}
