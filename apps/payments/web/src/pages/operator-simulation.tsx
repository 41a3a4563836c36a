/** False accepts and false declines of the simulated town, by threshold and mix of sources. */
import { useQuery } from '@tanstack/react-query';
import { call } from '../lib/api.ts';
import type { SimulationFigures } from '../lib/contract.ts';
import { Loaded, Muted } from '../parts/page.tsx';
import { RatePlot } from '../parts/rate-plot.tsx';
import { texts } from '../texts.ts';

const said = texts.operator;
const percent = (rate: number): string => `${(rate * 100).toPrecision(2)} %`;

export function Simulation() {
  const figures = useQuery({
    queryKey: ['operatorSimulation'],
    queryFn: () => call('operatorSimulation'),
    staleTime: Number.POSITIVE_INFINITY,
  });
  return (
    <Loaded query={figures} rows={8}>
      {(figures) =>
        figures.rows.length === 0 ? <Muted>{said.simulationNone}</Muted> : <Figures figures={figures} />
      }
    </Loaded>
  );
}

function Figures({ figures }: { readonly figures: SimulationFigures }) {
  const mixes = [...new Set(figures.rows.map((row) => row.mix))];
  const lines = (rate: 'falseAcceptRate' | 'falseDeclineRate' | 'unknownRate') =>
    mixes.map((mix) => ({
      name: mix,
      points: figures.rows
        .filter((row) => row.mix === mix)
        .map((row) => [row.thresholdM, row[rate]] as const),
    }));
  return (
    <div className="flex flex-col gap-3">
      <Muted>{said.simulationOf(figures.people, figures.seed)}</Muted>
      <RatePlot title={said.falseAccepts} lines={lines('falseAcceptRate')} />
      <RatePlot title={said.falseDeclines} lines={lines('falseDeclineRate')} />
      <RatePlot title={said.unknown} lines={lines('unknownRate')} />
      <details>
        <summary className="text-sm font-medium">{said.table}</summary>
        {/* biome-ignore lint/a11y/noNoninteractiveTabindex: what scrolls must be reachable by keyboard */}
        <section className="overflow-x-auto" tabIndex={0} aria-label={said.table}>
          <table className="w-full text-right text-sm">
            <thead>
              <tr>
                {[
                  said.mix,
                  said.threshold,
                  said.pairs,
                  said.falseAccepts,
                  said.falseDeclines,
                  said.unknown,
                ].map((name) => (
                  <th key={name} scope="col" className="px-2 py-1">
                    {name}
                  </th>
                ))}
              </tr>
            </thead>
            <tbody>
              {figures.rows.map((row) => (
                <tr key={`${row.mix} ${row.thresholdM}`}>
                  <th scope="row" className="px-2 py-1 font-normal">
                    {row.mix}
                  </th>
                  <td className="px-2">{row.thresholdM}</td>
                  <td className="px-2">{row.pairs}</td>
                  <td className="px-2">{percent(row.falseAcceptRate)}</td>
                  <td className="px-2">{percent(row.falseDeclineRate)}</td>
                  <td className="px-2">{percent(row.unknownRate)}</td>
                </tr>
              ))}
            </tbody>
          </table>
        </section>
      </details>
    </div>
  );
}
