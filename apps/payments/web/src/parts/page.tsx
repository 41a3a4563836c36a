/** The frame of a page's content: heading, sections, and what stands there while something loads or fails. */
import type { UseQueryResult } from '@tanstack/react-query';
import { type ReactNode, useEffect, useRef } from 'react';
import { texts } from '../texts.ts';
import { Button, Notice } from './controls.tsx';

export function Page({ title, children }: { readonly title: string; readonly children: ReactNode }) {
  const heading = useRef<HTMLHeadingElement>(null);
  useEffect(() => {
    document.title = `${title} · ${texts.appName}`;
    // A screen reader starts at the new page's heading, as it would after a real navigation.
    heading.current?.focus({ preventScroll: true });
  }, [title]);
  return (
    <main className="mx-auto flex w-full max-w-xl flex-col gap-4 px-4 pt-4 pb-28">
      <h1 ref={heading} tabIndex={-1} className="text-xl font-semibold">
        {title}
      </h1>
      {children}
    </main>
  );
}

export function Section({ title, children }: { readonly title: string; readonly children: ReactNode }) {
  return (
    <section className="card" aria-label={title}>
      <h2 className="mb-2 font-semibold">{title}</h2>
      {children}
    </section>
  );
}

export const Muted = ({ children }: { readonly children: ReactNode }) => (
  <p className="text-sm text-muted">{children}</p>
);

export const errorText = (error: unknown): string => (error instanceof Error ? error.message : texts.failed);

/** What is used of a query: several can be put together to one. */
type LoadedQuery<Data> = Pick<UseQueryResult<Data>, 'error' | 'refetch'> & {
  readonly data: Data | undefined;
  readonly isError: boolean;
};

/** What a query brought; before that a place of about the same size, so that nothing jumps. */
export function Loaded<Data>({
  query,
  rows = 3,
  children,
}: {
  readonly query: LoadedQuery<Data>;
  readonly rows?: number;
  readonly children: (data: Data) => ReactNode;
}) {
  if (query.data !== undefined) return children(query.data);
  if (query.isError)
    return (
      <Notice tone="bad">
        <p className="mb-3">{errorText(query.error)}</p>
        <Button look="plain" onClick={() => void query.refetch()}>
          {texts.retry}
        </Button>
      </Notice>
    );
  return (
    <div role="status" aria-label={texts.loading}>
      {Array.from({ length: rows }, (_, row) => row).map((row) => (
        <div key={row} className="my-2 h-10 rounded-xl bg-line" />
      ))}
    </div>
  );
}
