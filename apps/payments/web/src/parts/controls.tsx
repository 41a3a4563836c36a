/** Buttons, fields and notices. */
import {
  type ButtonHTMLAttributes,
  type InputHTMLAttributes,
  type ReactNode,
  type SelectHTMLAttributes,
  useId,
} from 'react';
import { go } from '../lib/router.ts';

const looks = {
  main: 'bg-accent text-on-accent',
  plain: 'border border-edge bg-card text-ink',
  danger: 'border border-bad bg-card text-bad',
} as const;

export function Button({
  look = 'main',
  className = '',
  ...rest
}: ButtonHTMLAttributes<HTMLButtonElement> & { readonly look?: keyof typeof looks }) {
  return (
    <button
      type="button"
      className={`min-h-12 rounded-xl px-4 font-semibold disabled:cursor-not-allowed disabled:border-line disabled:bg-line disabled:text-muted ${looks[look]} ${className}`}
      {...rest}
    />
  );
}

interface FieldProps {
  readonly label: string;
  readonly hint?: string | undefined;
  /** Why the value cannot be taken. */
  readonly wrong?: string | undefined;
}

export function Field({
  label,
  hint,
  wrong,
  className = '',
  ...rest
}: FieldProps & InputHTMLAttributes<HTMLInputElement>) {
  const id = useId();
  const about = wrong ?? hint;
  return (
    <div>
      <label htmlFor={id} className="mb-1 block text-sm font-medium">
        {label}
      </label>
      <input
        id={id}
        className={`field ${className}`}
        aria-invalid={wrong !== undefined}
        aria-describedby={about === undefined ? undefined : `${id}-about`}
        {...rest}
      />
      {about !== undefined && (
        <p id={`${id}-about`} className={`mt-1 text-sm ${wrong === undefined ? 'text-muted' : 'text-bad'}`}>
          {about}
        </p>
      )}
    </div>
  );
}

export function Select({
  label,
  options,
  ...rest
}: {
  readonly label: string;
  readonly options: Readonly<Record<string, string>>;
} & SelectHTMLAttributes<HTMLSelectElement>) {
  const id = useId();
  return (
    <div>
      <label htmlFor={id} className="mb-1 block text-sm font-medium">
        {label}
      </label>
      <select id={id} className="field" {...rest}>
        {Object.entries(options).map(([value, text]) => (
          <option key={value} value={value}>
            {text}
          </option>
        ))}
      </select>
    </div>
  );
}

export function Check({
  label,
  ...rest
}: { readonly label: string } & InputHTMLAttributes<HTMLInputElement>) {
  return (
    <label className="row">
      <input type="checkbox" className="size-5 shrink-0 accent-accent" {...rest} />
      <span>{label}</span>
    </label>
  );
}

const tones = { plain: 'text-ink', good: 'text-good', bad: 'text-bad', wait: 'text-wait' } as const;
export type Tone = keyof typeof tones;

/** Something that came up: read aloud by screen readers. */
export function Notice({ tone = 'plain', children }: { readonly tone?: Tone; readonly children: ReactNode }) {
  return (
    <div role={tone === 'bad' ? 'alert' : 'status'} className={`card ${tones[tone]}`}>
      {children}
    </div>
  );
}

export function Chip({ tone, children }: { readonly tone: Tone; readonly children: ReactNode }) {
  return (
    <span className={`shrink-0 rounded-full border border-current px-2 py-0.5 text-sm ${tones[tone]}`}>
      {children}
    </span>
  );
}

/** A link to a page of ours: keeps the application where it is. */
export function Link({
  to,
  className,
  children,
  current,
}: {
  readonly to: string;
  readonly className?: string;
  readonly children: ReactNode;
  readonly current?: boolean;
}) {
  return (
    <a
      href={to}
      className={className}
      aria-current={current === true ? 'page' : undefined}
      onClick={(event) => {
        if (event.metaKey || event.ctrlKey || event.shiftKey) return;
        event.preventDefault();
        go(to);
      }}
    >
      {children}
    </a>
  );
}
