/** H3 cells of decisions as SVG: the payer's filled, the payee's outlined, a line between them. No tiles, and no exact position. */
import { cellToBoundary, cellToLatLng } from 'h3-js';
import { useMemo } from 'react';
import type { OperatorDecision } from '../lib/contract.ts';
import { Muted } from '../parts/page.tsx';
import { texts } from '../texts.ts';

const said = texts.operator;
const width = 400;
const height = 300;
const margin = 16;
const fills = { allow: 'fill-good', decline: 'fill-bad', step_up: 'fill-wait' } as const;
const strokes = { allow: 'stroke-good', decline: 'stroke-bad', step_up: 'stroke-wait' } as const;

type LatLng = readonly [number, number];
type Projection = (at: LatLng) => LatLng;

/** Fits the places into the picture. Towns are small: one scale for the whole is right enough. */
function projectionOf(places: readonly LatLng[]): Projection {
  const latitudes = places.map(([latitude]) => latitude);
  const longitudes = places.map(([, longitude]) => longitude);
  const [south, north] = [Math.min(...latitudes), Math.max(...latitudes)];
  const [west, east] = [Math.min(...longitudes), Math.max(...longitudes)];
  const narrow = Math.cos((((south + north) / 2) * Math.PI) / 180);
  const scale = Math.min(
    (width - 2 * margin) / Math.max((east - west) * narrow, 1e-6),
    (height - 2 * margin) / Math.max(north - south, 1e-6),
  );
  return ([latitude, longitude]) => [
    width / 2 + (longitude - (west + east) / 2) * narrow * scale,
    height / 2 - (latitude - (south + north) / 2) * scale,
  ];
}

export function DecisionMap({
  decisions,
  chosen,
}: {
  readonly decisions: readonly OperatorDecision[];
  readonly chosen: string | undefined;
}) {
  const project = useMemo(() => {
    const cells = decisions.flatMap(({ payerSide, payeeSide }) =>
      [payerSide.cell ?? [], payeeSide.cell ?? []].flat(),
    );
    return cells.length === 0 ? undefined : projectionOf(cells.flatMap((cell) => cellToBoundary(cell)));
  }, [decisions]);
  if (project === undefined) return <Muted>{said.mapNone}</Muted>;
  const points = (cell: string): string =>
    cellToBoundary(cell)
      .map((corner) =>
        project(corner)
          .map((value) => value.toFixed(1))
          .join(','),
      )
      .join(' ');
  const line = (from: string, to: string) => {
    const [[x1, y1], [x2, y2]] = [project(cellToLatLng(from)), project(cellToLatLng(to))];
    return { x1, y1, x2, y2 };
  };
  // The chosen one is drawn last, above the others.
  const drawn = [...decisions].sort(
    (a, b) => Number(a.decisionId === chosen) - Number(b.decisionId === chosen),
  );
  return (
    <>
      <svg
        viewBox={`0 0 ${width} ${height}`}
        role="img"
        aria-label={said.map}
        className="block aspect-4/3 w-full rounded-xl bg-paper"
      >
        {drawn.map(({ decisionId, answer, payerSide, payeeSide }) => (
          <g key={decisionId} strokeWidth={decisionId === chosen ? 3 : 1} className={strokes[answer]}>
            {payerSide.cell !== null && (
              <polygon
                points={points(payerSide.cell)}
                fillOpacity={decisionId === chosen ? 0.5 : 0.08}
                className={fills[answer]}
              />
            )}
            {payeeSide.cell !== null && (
              <polygon points={points(payeeSide.cell)} fill="none" strokeDasharray="4 3" />
            )}
            {payerSide.cell !== null && payeeSide.cell !== null && payerSide.cell !== payeeSide.cell && (
              <line {...line(payerSide.cell, payeeSide.cell)} />
            )}
          </g>
        ))}
      </svg>
      <Muted>{said.mapKey}</Muted>
    </>
  );
}
