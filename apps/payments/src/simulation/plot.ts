/** The figures as an SVG: one panel for each kind of error, a line for each mix of sources. */
import type { SimulationFigures } from '../contract/operator.ts';

const colours = ['#1b6ca8', '#c2410c', '#15803d', '#7e22ce', '#525252'];
const panel = { width: 330, height: 220, left: 50, top: 40 };
const gap = 30;

type Row = SimulationFigures['rows'][number];
const panels: readonly { readonly title: string; readonly max: number; value(row: Row): number }[] = [
  { title: 'false accepts (truly 1 to 5 × the threshold)', max: 0.005, value: (row) => row.falseAcceptRate },
  { title: 'false declines (truly within the threshold)', max: 0.2, value: (row) => row.falseDeclineRate },
  { title: 'unknown: stepped up', max: 1, value: (row) => row.unknownRate },
];

export function plot(figures: SimulationFigures): string {
  const mixes = [...new Set(figures.rows.map((row) => row.mix))];
  const thresholds = [...new Set(figures.rows.map((row) => row.thresholdM))].sort((a, b) => a - b);
  const drawn = panels.map((each, at) => drawPanel(each, at, figures.rows, mixes, thresholds));
  const legend = mixes.map((mix, at) => {
    const x = panel.left + at * 200;
    return `<rect x="${x}" y="305" width="14" height="4" fill="${colours[at]}"/><text x="${x + 20}" y="311">${mix}</text>`;
  });
  const width = panel.left + panels.length * (panel.width + gap + panel.left);
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} 330" font-family="sans-serif" font-size="12">
<title>False accepts, false declines and unknown by threshold and sources</title>
<rect width="${width}" height="330" fill="white"/>
<text x="${panel.left}" y="18" font-size="14">${figures.people} people, one day, seed ${figures.seed}; threshold in metres on the axis</text>
${drawn.join('\n')}
${legend.join('\n')}
</svg>
`;
}

function drawPanel(
  { title, max, value }: (typeof panels)[number],
  index: number,
  rows: readonly Row[],
  mixes: readonly string[],
  thresholds: readonly number[],
): string {
  const x0 = panel.left + index * (panel.width + gap + panel.left);
  const x = (at: number): number => x0 + (at / (thresholds.length - 1)) * panel.width;
  const y = (rate: number): number => panel.top + panel.height * (1 - Math.min(1, rate / max));
  const lines = mixes.map((mix, colour) => {
    const points = thresholds.map((threshold, at) => {
      const row = rows.find((each) => each.mix === mix && each.thresholdM === threshold);
      return `${x(at).toFixed(1)},${y(row === undefined ? 0 : value(row)).toFixed(1)}`;
    });
    return `<polyline fill="none" stroke="${colours[colour]}" stroke-width="2" points="${points.join(' ')}"/>`;
  });
  const ticks = [0, 0.5, 1].map(
    (share) =>
      `<text x="${x0 - 6}" y="${y(share * max) + 4}" text-anchor="end">${Number((share * max * 100).toFixed(2))} %</text>`,
  );
  const labels = thresholds.map(
    (threshold, at) =>
      `<text x="${x(at)}" y="${panel.top + panel.height + 18}" text-anchor="middle">${threshold}</text>`,
  );
  return `<g><text x="${x0}" y="${panel.top - 8}">${title}</text>
<path d="M${x0} ${panel.top}V${panel.top + panel.height}H${x0 + panel.width}" fill="none" stroke="#999"/>
${[...ticks, ...labels, ...lines].join('\n')}</g>`;
}
