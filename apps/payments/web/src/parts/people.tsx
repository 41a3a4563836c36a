/** People as they stand in lists. */
import type { ReactNode } from 'react';

/** The first letter in a circle; the name stands beside it, so screen readers do not need it. */
export const Initial = ({ name }: { readonly name: string }) => (
  <span
    aria-hidden="true"
    className="flex size-10 shrink-0 items-center justify-center rounded-full bg-soft font-semibold text-accent"
  >
    {name.slice(0, 1).toUpperCase()}
  </span>
);

export function PersonLine({
  name,
  about,
  children,
}: {
  readonly name: string;
  readonly about: ReactNode;
  readonly children?: ReactNode;
}) {
  return (
    <>
      <Initial name={name} />
      <span className="min-w-0 flex-1">
        <span className="block truncate font-medium">{name}</span>
        <span className="block truncate text-sm text-muted">{about}</span>
      </span>
      {children}
    </>
  );
}
