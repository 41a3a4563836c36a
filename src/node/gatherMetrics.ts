/** The metrics of all processes of a run, read from their sockets and told apart by the label `process`. */
import { readdirSync } from 'node:fs';
import { request } from 'node:http';
import { dirname } from 'node:path';
import type { RunDirectory } from './directory.ts';

const answerTimeoutMs = 2_000;
const answerBytesMax = 8 * 1024 * 1024;
const processesMax = 1_000;
const suffix = '.metrics';

/** Text of a process's metrics. Rejects when it does not answer in time. */
export const readSocket = (socketPath: string): Promise<string> =>
  new Promise((resolve, reject) => {
    const asked = request({
      socketPath,
      path: '/metrics',
      agent: false,
      signal: AbortSignal.timeout(answerTimeoutMs),
    });
    asked.once('error', reject);
    asked.once('response', (response) => {
      let text = '';
      response.setEncoding('utf8');
      response.on('data', (chunk: string) => {
        text += chunk;
        if (text.length > answerBytesMax) asked.destroy(new Error('the metrics are too long'));
      });
      response.once('error', reject);
      response.once('end', () => (response.statusCode === 200 ? resolve(text) : reject(new Error(text))));
    });
    asked.end();
  });

/** Names of the processes that show metrics. */
const processesOf = (directory: RunDirectory): string[] => {
  try {
    return readdirSync(dirname(dirname(directory.metricsSocket('x'))))
      .filter((name) => name.endsWith(suffix))
      .map((name) => name.slice(0, -suffix.length))
      .sort()
      .slice(0, processesMax);
  } catch {
    return [];
  }
};

/** Texts by process, of all or of one. One that does not answer is missing. */
export const gatherMetrics = async (
  directory: RunDirectory,
  only?: string,
): Promise<ReadonlyMap<string, string>> => {
  const found = await Promise.all(
    processesOf(directory)
      .filter((name) => only === undefined || name === only)
      .map(async (name): Promise<[string, string][]> => {
        const text = await readSocket(directory.metricsSocket(name)).catch(() => undefined);
        return text === undefined ? [] : [[name, text]];
      }),
  );
  return new Map(found.flat());
};

const sampleForm = /^([A-Za-z_:][\w:]*)(?:\{(.*)\})? (\S+)$/;
const familyForm = /^# (HELP|TYPE) (\S+) /;

/** One text of many: each family once, each sample with its process. */
export const mergeMetrics = (texts: ReadonlyMap<string, string>): string => {
  const families = new Map<string, { readonly about: string[]; readonly samples: string[] }>();
  for (const [process, text] of texts) {
    let family: { readonly about: string[]; readonly samples: string[] } | undefined;
    for (const line of text.split('\n')) {
      const [, kind, name = ''] = familyForm.exec(line) ?? [];
      if (kind !== undefined) {
        family = families.get(name) ?? { about: [], samples: [] };
        families.set(name, family);
        if (!family.about.some((known) => known.startsWith(`# ${kind} `))) family.about.push(line);
        continue;
      }
      const [, sample, labels, value] = sampleForm.exec(line) ?? [];
      if (sample === undefined) continue;
      const all = [`process="${process}"`, ...(labels ? [labels] : [])].join(',');
      family?.samples.push(`${sample}{${all}} ${value}`);
    }
  }
  const lines = [...families.values()].flatMap(({ about, samples }) => [...about, ...samples]);
  return `${lines.join('\n')}\n`;
};
