/** Which page stands at which address, and who is signed in. */
import { useQuery, useQueryClient } from '@tanstack/react-query';
import { lazy, Suspense, useEffect } from 'react';
import { ApiError } from './lib/api.ts';
import type { Me } from './lib/contract.ts';
import { checkDevice } from './lib/device.ts';
import { listen } from './lib/live.ts';
import { keepReporting, watchPermission, whereabouts } from './lib/location.ts';
import { openOutbox } from './lib/outbox.ts';
import { queries } from './lib/queries.ts';
import { usePath } from './lib/router.ts';
import { AccountPage } from './pages/account.tsx';
import { ActivityPage } from './pages/activity.tsx';
import { AskPage } from './pages/ask.tsx';
import { PayPage } from './pages/pay.tsx';
import { PayAskPage } from './pages/pay-ask.tsx';
import { PayPersonPage } from './pages/pay-person.tsx';
import { PaymentPage } from './pages/payment.tsx';
import { SignInPage } from './pages/sign-in.tsx';
import { SplitPage } from './pages/split.tsx';
import { NewSplitPage } from './pages/split-new.tsx';
import { Loaded, Page } from './parts/page.tsx';
import { Shell } from './parts/shell.tsx';
import { texts } from './texts.ts';

// Not a phone's first load: they come when they are opened.
const CounterPage = lazy(() => import('./pages/counter.tsx'));
const StatementPage = lazy(() => import('./pages/statement.tsx'));
const OperatorPage = lazy(() => import('./pages/operator.tsx'));

export function App() {
  const [page] = usePath();
  if (page === 'operator')
    return (
      <Suspense>
        <OperatorPage />
      </Suspense>
    );
  return <ForPeople />;
}

function ForPeople() {
  const me = useQuery(queries.me());
  const isSignedOut = me.error instanceof ApiError && me.error.code === 'not_signed_in';
  if (isSignedOut) return <SignInPage />;
  if (me.data !== undefined) return <SignedIn key={me.data.personId} me={me.data} />;
  return (
    <Page title={texts.appName}>
      <Loaded query={me}>{() => null}</Loaded>
    </Page>
  );
}

function SignedIn({ me }: { readonly me: Me }) {
  const client = useQueryClient();
  const { permission } = whereabouts.use();
  const { personId } = me;
  const mayReport = me.privacy.locationOptIn && permission === 'granted';
  useEffect(() => {
    // Where there is no answer now, it is asked again when the page is opened next.
    void checkDevice(personId).catch(() => undefined);
    void openOutbox(personId);
    void watchPermission();
    const stop = listen(client);
    return () => {
      stop();
      void openOutbox(undefined);
    };
  }, [client, personId]);
  useEffect(
    () =>
      mayReport
        ? keepReporting(personId, () => void client.invalidateQueries({ queryKey: ['nearby'] }))
        : undefined,
    [client, personId, mayReport],
  );
  return (
    <Shell me={me}>
      <Suspense fallback={<Page title={texts.loading}>{null}</Page>}>
        <Content me={me} />
      </Suspense>
    </Shell>
  );
}

function Content({ me }: { readonly me: Me }) {
  const [page = '', id = '', extra = ''] = usePath();
  switch (page) {
    case 'pay':
      return id === '' ? <PayPage me={me} /> : <PayPersonPage key={id} me={me} personId={id} />;
    case 'code':
      return <PayAskPage key={id} me={me} askId={id} token={extra} />;
    case 'ask':
      return <AskPage me={me} />;
    case 'activity':
      return <ActivityPage />;
    case 'payment':
      return <PaymentPage key={id} paymentId={id} />;
    case 'split-bill':
      return <NewSplitPage key={id} paymentId={id} />;
    case 'split':
      return <SplitPage key={id} splitId={id} />;
    case 'statement':
      return <StatementPage />;
    case 'account':
      return <AccountPage me={me} />;
    case 'counter':
      return <CounterPage me={me} />;
    default:
      return me.role === 'merchant' ? <CounterPage me={me} /> : <PayPage me={me} />;
  }
}
