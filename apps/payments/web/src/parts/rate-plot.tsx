/** Rates over thresholds as lines: thresholds by their logarithm, rates from zero to the largest. */
import { texts } from '../texts.ts';
import { Muted } from './page.tsx';

const width = 400;
const height = 180;
const frame = { left: 52, right: 12, top: 10, bottom: 26 };
/** Told apart by colour and by dashes, so that neither alone is needed. */
const looks = [
  { stroke: 'stroke-accent', dash: undefined },
  { stroke: 'stroke-bad', dash: '8 3' },
  { stroke: 'stroke-wait', dash: '2 3' },
  { stroke: 'stroke-good', dash: '8 3 2 3' },
  { stroke: 'stroke-muted', dash: '4 2' },
  { stroke: 'stroke-ink', dash: '1 2' },
] as const;
const lookOf = (index: number) => looks[index % looks.length] ?? looks[0];

export interface RateLine {
  readonly name: string;
  /** Threshold in metres, rate from 0 to 1. */
  readonly points: readonly (readonly [number, number])[];
}

export function RatePlot({ title, lines }: { readonly title: string; readonly lines: readonly RateLine[] }) {
  const all = lines.flatMap((line) => line.points);
  const thresholds = [...new Set(all.map(([threshold]) => threshold))].sort((a, b) => a - b);
  const [low = 1, high = 10] = [thresholds[0], thresholds.at(-1)];
  const top = Math.max(...all.map(([, rate]) => rate), 1e-4);
  const x = (threshold: number): number =>
    frame.left +
    ((width - frame.left - frame.right) * Math.log(threshold / low)) / Math.max(Math.log(high / low), 1e-9);
  const y = (rate: number): number =>
    height - frame.bottom - (height - frame.top - frame.bottom) * (rate / top);
  return (
    <figure>
      <figcaption className="text-sm font-medium">{title}</figcaption>
      <svg
        viewBox={`0 0 ${width} ${height}`}
        role="img"
        aria-label={`${title}: ${texts.operator.table}`}
        className="block w-full"
      >
        {[0, 0.5, 1].map((part) => (
          <g key={part}>
            <line
              x1={frame.left}
              x2={width - frame.right}
              y1={y(top * part)}
              y2={y(top * part)}
              className="stroke-line"
            />
            <text
              x={frame.left - 6}
              y={y(top * part) + 4}
              textAnchor="end"
              fontSize="12"
              className="fill-muted"
            >
              {(top * part * 100).toPrecision(2)} %
            </text>
          </g>
        ))}
        {thresholds.map((threshold) => (
          <text
            key={threshold}
            x={x(threshold)}
            y={height - 8}
            textAnchor="middle"
            fontSize="12"
            className="fill-muted"
          >
            {threshold}
          </text>
        ))}
        {lines.map((line, index) => (
          <polyline
            key={line.name}
            points={line.points
              .map(([threshold, rate]) => `${x(threshold).toFixed(1)},${y(rate).toFixed(1)}`)
              .join(' ')}
            fill="none"
            strokeWidth="2"
            strokeDasharray={lookOf(index).dash}
            className={lookOf(index).stroke}
          />
        ))}
      </svg>
      <ul className="flex flex-wrap gap-x-4">
        {lines.map((line, index) => (
          <li key={line.name} className="flex items-center gap-2 text-sm">
            <svg width="28" height="8" aria-hidden="true">
              <line
                x1="0"
                x2="28"
                y1="4"
                y2="4"
                strokeWidth="2"
                strokeDasharray={lookOf(index).dash}
                className={lookOf(index).stroke}
              />
            </svg>
            {line.name}
          </li>
        ))}
      </ul>
      <Muted>{texts.operator.threshold}</Muted>
    </figure>
  );
}
