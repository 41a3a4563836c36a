/** Lines over a common axis, as text for a terminal and as SVG for the documentation. Values are from 0 to 1, drawn on a logarithmic scale. */

export interface Chart {
  readonly title: string;
  readonly xName: string;
  readonly lines: readonly { readonly name: string; readonly values: readonly number[] }[];
  readonly limit: { readonly value: number; readonly name: string };
  readonly marks: readonly { readonly at: number; readonly name: string }[];
}

const from = 0.01;
const share = (value: number): number =>
  Math.log(Math.max(from, Math.min(1, value)) / from) / Math.log(1 / from);

const columns = 90;
const rows = 16;

const textOf = ({ title, xName, lines, limit, marks }: Chart): string => {
  const length = Math.max(...lines.map(({ values }) => values.length));
  const cells = Array.from({ length: rows }, () => Array.from({ length: columns }, () => ' '));
  const put = (x: number, value: number, sign: string): void => {
    const row = cells[Math.min(rows - 1, Math.floor((1 - share(value)) * rows))];
    if (row !== undefined) row[Math.min(columns - 1, Math.floor(x))] = sign;
  };
  for (let x = 0; x < columns; x++) put(x, limit.value, '·');
  for (const { at } of marks) for (const row of cells) row[Math.floor((at / length) * columns)] = '|';
  for (const [index, { values }] of lines.entries())
    for (const [at, value] of values.entries()) put((at / length) * columns, value, 'ox+*'[index] ?? '#');
  const legend = lines.map(({ name }, index) => `${'ox+*'[index] ?? '#'} ${name}`).join('   ');
  const whens = marks.map(({ at, name }) => `| ${at}: ${name}`).join('   ');
  const body = cells.map((row, at) => {
    const value = from * (1 / from) ** (1 - at / rows);
    return `${(100 * value).toFixed(value < 0.1 ? 1 : 0).padStart(5)} % ${row.join('')}`;
  });
  return [
    title,
    ...body,
    `        0 … ${length} ${xName}`,
    `        ${legend}   · ${limit.name}   ${whens}`,
  ].join('\n');
};

const [width, height, left, top] = [760, 320, 50, 30];
const colours = ['#1f6feb', '#d1570a', '#2da44e', '#8250df'];

const svgOf = ({ title, xName, lines, limit, marks }: Chart): string => {
  const length = Math.max(...lines.map(({ values }) => values.length));
  const x = (at: number): string => (left + (at / length) * (width - left - 20)).toFixed(1);
  const y = (value: number): string => (top + (1 - share(value)) * (height - top - 50)).toFixed(1);
  const text = (px: string | number, py: string | number, words: string, more = ''): string =>
    `<text x="${px}" y="${py}" ${more}>${words}</text>`;
  const parts = [
    ...[0.01, 0.1, 1].map((value) => text(left - 6, y(value), `${100 * value} %`, 'text-anchor="end"')),
    `<line x1="${left}" x2="${width - 20}" y1="${y(limit.value)}" y2="${y(limit.value)}" stroke="#c00" stroke-dasharray="4 3"/>`,
    text(width - 20, Number(y(limit.value)) - 4, limit.name, 'text-anchor="end" fill="#c00"'),
    ...marks.flatMap(({ at, name }) => [
      `<line x1="${x(at)}" x2="${x(at)}" y1="${top}" y2="${height - 50}" stroke="#999"/>`,
      text(Number(x(at)) + 3, top + 10, name, 'fill="#666"'),
    ]),
    ...lines.flatMap(({ name, values }, index) => [
      `<polyline fill="none" stroke="${colours[index % colours.length]}" points="${values.map((value, at) => `${x(at)},${y(value)}`).join(' ')}"/>`,
      text(left + 10 + index * 120, height - 12, name, `fill="${colours[index % colours.length]}"`),
    ]),
    text(width - 20, height - 12, `0 … ${length} ${xName}`, 'text-anchor="end"'),
    text(left, 18, title, 'font-weight="bold"'),
  ];
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${height}" font-family="sans-serif" font-size="11">\n<rect width="${width}" height="${height}" fill="#fff"/>\n${parts.join('\n')}\n</svg>\n`;
};

export const chart = (data: Chart): { readonly text: string; readonly svg: string } => ({
  text: textOf(data),
  svg: svgOf(data),
});
