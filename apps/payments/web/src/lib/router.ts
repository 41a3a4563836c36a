/** Addresses of the pages: the browser's history, and nothing more is needed. */
import { useSyncExternalStore } from 'react';

const listeners = new Set<() => void>();
const tell = (): void => {
  for (const listener of listeners) listener();
};
addEventListener('popstate', tell);

/** Opens a page of ours. `/` of the path is the page, what follows its parameter. */
export function go(path: string): void {
  if (path === location.pathname) return;
  history.pushState(null, '', path);
  scrollTo(0, 0);
  tell();
}

const subscribe = (listener: () => void): (() => void) => {
  listeners.add(listener);
  return () => listeners.delete(listener);
};

/** `/payment/pay_1` → `['payment', 'pay_1']` */
export function usePath(): string[] {
  const path = useSyncExternalStore(subscribe, () => location.pathname);
  return path.split('/').filter((part) => part !== '');
}
