/** What stands around the pages of who is signed in: balance above, the pages below. */
import type { ReactNode } from 'react';
import type { Me } from '../lib/contract.ts';
import { connection } from '../lib/live.ts';
import { formatMoney } from '../lib/money.ts';
import { usePath } from '../lib/router.ts';
import { texts } from '../texts.ts';
import { Link } from './controls.tsx';
import { OutboxList } from './outbox-list.tsx';

export function Shell({ me, children }: { readonly me: Me; readonly children: ReactNode }) {
  return (
    <>
      <Header me={me} />
      <OutboxList />
      {children}
      <Navigation isMerchant={me.role === 'merchant'} />
    </>
  );
}

function Header({ me }: { readonly me: Me }) {
  const state = connection.use();
  return (
    <header className="mx-auto flex h-20 w-full max-w-xl items-center justify-between gap-3 px-4">
      <div className="min-w-0">
        <p className="truncate font-semibold">{me.name}</p>
        <p className="flex items-center gap-1.5 text-sm text-muted" role="status">
          <span
            aria-hidden="true"
            className={`size-2 rounded-full ${state === 'live' ? 'bg-good' : 'bg-wait'}`}
          />
          {texts.live[state]}
        </p>
      </div>
      <div className="text-right">
        <p className="text-sm text-muted">
          {me.heldMinor === '0' ? texts.balance : texts.held(formatMoney(me.heldMinor, me.currency))}
        </p>
        <p className="text-lg font-semibold" data-testid="balance">
          {formatMoney(me.availableMinor, me.currency)}
        </p>
      </div>
    </header>
  );
}

function Navigation({ isMerchant }: { readonly isMerchant: boolean }) {
  const [page = ''] = usePath();
  const home = isMerchant ? 'counter' : 'pay';
  const pages = [...(isMerchant ? (['counter'] as const) : []), 'pay', 'ask', 'activity', 'account'] as const;
  return (
    <nav
      aria-label={texts.nav.main}
      className="fixed inset-x-0 bottom-0 border-t border-line bg-card pb-[env(safe-area-inset-bottom)]"
    >
      <ul className="mx-auto flex max-w-xl">
        {pages.map((name) => {
          const isCurrent = page === name || (page === '' && name === home);
          return (
            <li key={name} className="flex-1">
              <Link
                to={`/${name}`}
                current={isCurrent}
                className={`flex h-16 items-center justify-center border-t-2 text-sm font-medium ${isCurrent ? 'border-accent text-accent' : 'border-transparent text-muted'}`}
              >
                {texts.nav[name]}
              </Link>
            </li>
          );
        })}
      </ul>
    </nav>
  );
}
