/** Prometheus' text form, read: samples by name and labels. */

export interface Sample {
  readonly name: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly value: number;
}

const sampleForm = /^([A-Za-z_:][\w:]*)(?:\{(.*)\})? (\S+)$/;
const labelForm = /([A-Za-z_]\w*)="((?:[^"\\]|\\.)*)"/g;

export const parseMetrics = (text: string): Sample[] =>
  text.split('\n').flatMap((line): Sample[] => {
    if (line.startsWith('#')) return [];
    const [, name, labels = '', value] = sampleForm.exec(line) ?? [];
    if (name === undefined) return [];
    const pairs = [...labels.matchAll(labelForm)].map(([, key = '', text = '']) => [
      key,
      text.replace(/\\(.)/g, (_, escaped: string) => (escaped === 'n' ? '\n' : escaped)),
    ]);
    return [{ name, labels: Object.fromEntries(pairs), value: Number(value) }];
  });

/** Adds up samples of a name that differ in no label of `by`. Keys are the labels' values, with blanks between. */
export const sumBy = (
  samples: readonly Sample[],
  name: string,
  by: readonly string[],
): Map<string, number> => {
  const sums = new Map<string, number>();
  for (const sample of samples) {
    if (sample.name !== name) continue;
    const key = by.map((label) => sample.labels[label] ?? '').join(' ');
    sums.set(key, (sums.get(key) ?? 0) + sample.value);
  }
  return sums;
};

/** The highest of what several processes tell of the same thing: the processors of a cell read one store. */
export const maxBy = (
  samples: readonly Sample[],
  name: string,
  by: readonly string[],
): Map<string, number> => {
  const highest = new Map<string, number>();
  for (const sample of samples) {
    if (sample.name !== name) continue;
    const key = by.map((label) => sample.labels[label] ?? '').join(' ');
    highest.set(key, Math.max(highest.get(key) ?? Number.NEGATIVE_INFINITY, sample.value));
  }
  return highest;
};
