/** How large a simulated region is, and who is in it under which name. */

export interface Shape {
  readonly cells: number;
  readonly processorsPerCell: number;
  readonly hostsPerCell: number;
  readonly routers: number;
  readonly accounts: number;
}

export const regionName = 'sim-1';
export const regionProcess = 'region';
export const regionPort = 7100;
export const processorPort = 7200;
export const routerPort = 80;
export const regionStore = 'region-store';

export const numbers = (count: number): number[] => Array.from({ length: count }, (_, at) => at + 1);
export const cellName = (cell: number): string => `cell-${cell}`;
export const cellStore = (cell: number): string => `c${cell}-store`;
export const processorName = (cell: number, number: number): string => `c${cell}-p${number}`;
export const hostName = (cell: number, number: number): string => `c${cell}-h${number}`;
export const routerName = (number: number): string => `router-${number}`;
/** As hosts are named in the API's own terms: what is told of them names them so. */
export const hostIdOf = (cell: number, number: number): string =>
  `h-${cell.toString(16)}${number.toString(16).padStart(16, '0')}`;
/** Two cells in the first zone: a launch may go to either. */
export const zoneOf = (cell: number): string => `${regionName}${cell <= 2 ? 'a' : 'b'}`;
export const zones = (cells: number): { name: string; id: string }[] =>
  [...new Set(numbers(cells).map(zoneOf))].map((name, at) => ({ name, id: `sim1-az${at + 1}` }));

/** Everything that can die, freeze or be cut off. */
export const processNames = ({ cells, processorsPerCell, hostsPerCell, routers }: Shape): string[] => [
  regionProcess,
  regionStore,
  ...numbers(routers).map(routerName),
  ...numbers(cells).flatMap((cell) => [
    cellStore(cell),
    ...numbers(processorsPerCell).map((number) => processorName(cell, number)),
    ...numbers(hostsPerCell).map((number) => hostName(cell, number)),
  ]),
];
