/**
 * The address plan of one run of the lab. Runs stand side by side on a machine: each has an index, and from it a prefix for
 * every name and networks of its own. Index 0 is the user's region; tests take others.
 */

/** Highest run index: the second octet pair of 198.18.0.0/15 has room for this many (management, underlay) pairs. */
export const runIndexMax = 99;
export const cellsMax = 8;
export const routersMax = 8;
export const regionsMax = 4;
export const hostsMax = 60;

const firstHostOctet = 11;

export interface PlannedHost {
  /** Counts from 1 over the whole run. */
  readonly number: number;
  readonly name: string;
  readonly hostId: string;
  readonly cell: number;
  /** How many hosts shared the machine's memory when this one was made: its part stays what it is when others come. */
  readonly sharers: number;
  readonly hostNetns: string;
  readonly cardNetns: string;
  /** Address of the host on the management network. */
  readonly management: string;
  /** Address of the card on the underlay: its VXLAN endpoint. */
  readonly vtep: string;
}

export interface PlannedCell {
  /** Counts from 1; named by the first digits of the cell's ids. */
  readonly number: number;
  /** `cell-a`, `cell-b`, … */
  readonly name: string;
  /** Counts from 1. */
  readonly zone: number;
  /** A PostgreSQL of somebody else's that has its store; absent: as the run's other stores. */
  readonly postgres?: ExternalStore | undefined;
}

/** A server's URL, and what the names of databases on it begin with. */
export interface ExternalStore {
  readonly url: string;
  readonly prefix: string;
}

/** What a run has become since its first start: cells that were made or retired, hosts that were added or have another cell. */
export interface Layout {
  readonly cells: readonly {
    readonly number: number;
    readonly zone: number;
    readonly postgres?: ExternalStore | undefined;
    /** Its number stays taken: it is in ids. */
    readonly retired?: true | undefined;
  }[];
  readonly hosts: readonly { readonly number: number; readonly cell: number; readonly sharers: number }[];
}

export interface LabPlan {
  readonly index: number;
  readonly prefix: string;
  readonly fabricNetns: string;
  readonly gatewayNetns: string;
  /** Root's interface on the management network, and its address there. */
  readonly managementLink: string;
  readonly management: string;
  readonly managementCidr: string;
  readonly underlayCidr: string;
  /** The gateway's addresses: on the underlay, on the management network, and on its uplink. */
  readonly gatewayVtep: string;
  readonly gatewayManagement: string;
  readonly gatewayUplink: string;
  /** Root's end of the gateway's uplink. */
  readonly uplinkLink: string;
  readonly uplink: string;
  readonly publicCidr: string;
  readonly publicPool: { readonly first: string; readonly last: string };
  /** How many there are. Decided at the first start: accounts have a subnet in each. */
  readonly zones: number;
  readonly cells: readonly PlannedCell[];
  readonly hosts: readonly PlannedHost[];
}

export interface PlanOptions {
  readonly index: number;
  /** As it began. */
  readonly cells: number;
  readonly hostsPerCell: number;
  /** Cells are dealt out over so many zones; absent: each has its own. */
  readonly zones?: number | undefined;
  /** What it has become; absent: it is as it began. */
  readonly layout?: Layout | undefined;
}

/** Both ends of the link between a host and its card, the same in every pair. */
export const hostCardLink = { host: '169.254.240.1', card: '169.254.240.2', bits: 30 } as const;
/** MTU of the underlay, bytes: room for VXLAN's 50 above an inner 1500. */
export const underlayMtu = 1600;

const within = (what: string, value: number, min: number, max: number): number => {
  if (!Number.isInteger(value) || value < min || value > max)
    throw new RangeError(`${what} must be a whole number from ${min} to ${max}, not ${value}`);
  return value;
};

/** The prefix of every namespace and interface of the run with this index. */
export const prefixOf = (index: number): string => `pd${within('run index', index, 0, runIndexMax)}`;

export const cellName = (number: number): string =>
  `cell-${String.fromCharCode('a'.charCodeAt(0) + number - 1)}`;

/** The layout with which a run begins. */
const firstLayout = ({ cells, hostsPerCell, zones = cells }: PlanOptions): Layout => {
  const cellNumbers = Array.from({ length: cells }, (_, at) => at + 1);
  const sharers = cells * hostsPerCell;
  return {
    cells: cellNumbers.map((number) => ({ number, zone: ((number - 1) % zones) + 1 })),
    hosts: cellNumbers.flatMap((cell) =>
      Array.from({ length: hostsPerCell }, (_, at) => ({
        ...{ number: (cell - 1) * hostsPerCell + at + 1, cell, sharers },
      })),
    ),
  };
};

export const layoutOf = (options: PlanOptions): Layout => options.layout ?? firstLayout(options);

/** Names and addresses of everything that a run has. Pure: the same options give the same plan. */
export function planLab(options: PlanOptions): LabPlan {
  const prefix = prefixOf(options.index);
  within('number of cells', options.cells, 1, cellsMax);
  within('number of hosts per cell', options.hostsPerCell, 1, hostsMax);
  within('number of hosts in all', options.cells * options.hostsPerCell, 1, hostsMax);
  const management = `198.18.${options.index * 2}`;
  const underlay = `198.18.${options.index * 2 + 1}`;
  const open = options.index === 0 ? '203.0.113' : `198.19.${options.index}`;
  const { zones = options.cells } = options;
  within('number of zones', zones, 1, options.cells);
  const layout = layoutOf(options);
  within('number of cells', Math.max(...layout.cells.map(({ number }) => number)), 1, cellsMax);
  within('number of hosts in all', Math.max(...layout.hosts.map(({ number }) => number)), 1, hostsMax);
  const cells = layout.cells
    .filter(({ retired }) => retired !== true)
    .map(({ number, zone, postgres }) => ({ number, name: cellName(number), zone, postgres }));
  return {
    index: options.index,
    prefix,
    fabricNetns: `${prefix}-fab`,
    gatewayNetns: `${prefix}-gw`,
    managementLink: `${prefix}-mgmt`,
    management: `${management}.1`,
    managementCidr: `${management}.0/24`,
    underlayCidr: `${underlay}.0/24`,
    gatewayVtep: `${underlay}.2`,
    gatewayManagement: `${management}.2`,
    gatewayUplink: `${open}.2`,
    uplinkLink: `${prefix}-up`,
    uplink: `${open}.1`,
    publicCidr: `${open}.0/24`,
    publicPool: { first: `${open}.16`, last: `${open}.250` },
    zones,
    cells,
    hosts: layout.hosts.map((host) => planHost(prefix, management, underlay, host)),
  };
}

function planHost(
  prefix: string,
  management: string,
  underlay: string,
  { cell, number, sharers }: Layout['hosts'][number],
): PlannedHost {
  const octet = firstHostOctet + number - 1;
  return {
    number,
    name: `host-${number}`,
    hostId: `h-${number.toString(16).padStart(17, '0')}`,
    cell,
    sharers,
    hostNetns: `${prefix}-h-${number}`,
    cardNetns: `${prefix}-c-${number}`,
    management: `${management}.${octet}`,
    vtep: `${underlay}.${octet}`,
  };
}
