/** The figures of the simulated town, as `apps/payments/docs/simulation.json` has them. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { SimulationFigures } from '../contract/operator.ts';

const file = join(import.meta.dirname, '../../docs/simulation.json');

export const simulationFigures = (): SimulationFigures =>
  SimulationFigures.parse(JSON.parse(readFileSync(file, 'utf8')));
