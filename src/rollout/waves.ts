/** A policy and a fleet give the waves: lists of devices, each device in one of them at most. */
import type { PolicySpec, WaveSpec } from '#contracts/rollout-policy.ts';
import { checkPolicy, selectorOf } from './policy.ts';
import { refusal } from './refuse.ts';

export interface FleetDevice {
  readonly id: string;
  /** undefined: of the region (a gateway). */
  readonly cell: string | undefined;
  readonly zone: string | undefined;
}

/**
 * The devices of each wave, in the order in which they are told. @throws `UnknownDevice`, `WavesOverlap`, `PercentageOfZero`, `NoDevices`;
 * what is wrong with the policy by itself as `checkPolicy`. Devices of no wave are not touched.
 */
export const planWaves = (policy: PolicySpec, fleet: readonly FleetDevice[]): string[][] => {
  checkPolicy(policy);
  if (fleet.length === 0) throw refusal('NoDevices', 'the fleet has no devices.');
  const left = new Map([...fleet].sort(byId).map((device) => [device.id, device]));
  const all = new Map(left);
  const waves = policy.waves.map((wave, at) => {
    const taken = takenBy({ policy, wave, at, all, left, fleetSize: fleet.length });
    for (const { id } of taken) left.delete(id);
    return ordered(policy.order, taken).map(({ id }) => id);
  });
  // Nothing may be left for the rest, or for a percentage of a small fleet.
  return waves.filter((devices) => devices.length > 0);
};

const byId = (a: FleetDevice, b: FleetDevice): number => (a.id < b.id ? -1 : 1);

interface Taking {
  readonly policy: PolicySpec;
  readonly wave: WaveSpec;
  readonly at: number;
  readonly all: ReadonlyMap<string, FleetDevice>;
  readonly left: ReadonlyMap<string, FleetDevice>;
  readonly fleetSize: number;
}

const takenBy = (taking: Taking): FleetDevice[] => {
  const { wave, at, left } = taking;
  switch (selectorOf(wave, at)) {
    case 'devices':
      return (wave.devices ?? []).map((id) => explicit(taking, id));
    case 'percent':
      return percentage(taking);
    case 'cells':
      return members(taking, 'cell', wave.cells ?? []);
    case 'zones':
      return members(taking, 'zone', wave.zones ?? []);
    case 'canaryCell':
      return canary(taking);
    case 'rest':
      return [...left.values()];
  }
};

/** Where all is one cell, one device of it is the canary. */
const canary = (taking: Taking): FleetDevice[] => {
  const cell = taking.policy.canaryCell ?? firstCell(taking.all);
  const devices = members(taking, 'cell', [cell]);
  return devices.length === taking.fleetSize ? devices.slice(0, 1) : devices;
};

const firstCell = (all: ReadonlyMap<string, FleetDevice>): string => {
  const [first] = [...all.values()].flatMap(({ cell }) => cell ?? []).sort();
  if (first === undefined)
    throw refusal('NoDevices', 'the policy begins with a canary cell; there is no cell.');
  return first;
};

const explicit = ({ all, left, at }: Taking, id: string): FleetDevice => {
  const device = all.get(id);
  if (device === undefined) throw refusal('UnknownDevice', `wave ${at + 1} lists ${id}, which is no device.`);
  if (!left.has(id)) throw refusal('WavesOverlap', `${id} of wave ${at + 1} is in an earlier wave too.`);
  return device;
};

const members = ({ all, left, at }: Taking, by: 'cell' | 'zone', names: readonly string[]): FleetDevice[] =>
  names.flatMap((name) => {
    const devices = [...all.values()].filter((device) => device[by] === name);
    if (devices.length === 0)
      throw refusal('NoDevices', `wave ${at + 1} names ${by} ${name}, which has no devices.`);
    const twice = devices.find(({ id }) => !left.has(id));
    if (twice !== undefined)
      throw refusal('WavesOverlap', `${twice.id} (${by} ${name}, wave ${at + 1}) is in an earlier wave too.`);
    return devices;
  });

const percentage = ({ wave, at, policy, left, fleetSize }: Taking): FleetDevice[] => {
  const count = Math.ceil((fleetSize * (wave.percent ?? 0)) / 100);
  // In a small fleet the waves before, rounded up, may be all of it: then this one has nothing to do.
  const roundedUp = policy.waves.slice(0, at).some(({ percent, canaryCell }) => percent ?? canaryCell);
  if (left.size === 0 && !roundedUp)
    throw refusal(
      'PercentageOfZero',
      `wave ${at + 1} takes ${wave.percent} percent; no devices are left for it.`,
    );
  return ordered(policy.order, [...left.values()]).slice(0, count);
};

const ordered = (order: PolicySpec['order'], devices: readonly FleetDevice[]): FleetDevice[] => {
  if (order === 'as-listed') return [...devices];
  const sorted = [...devices].sort(byId);
  return order === 'by-name' ? sorted : spread(sorted);
};

/** One of each cell in turn, so that no cell is changed as a whole while others have nothing of it. */
const spread = (devices: readonly FleetDevice[]): FleetDevice[] => {
  const cells = [...Map.groupBy(devices, ({ cell = '' }) => cell).values()];
  const longest = Math.max(0, ...cells.map(({ length }) => length));
  return Array.from({ length: longest }, (_, at) => cells.flatMap((cell) => cell[at] ?? [])).flat();
};
