/** Random lives of hosts: what happens to them between two rebuilds, each noticed as a real host would notice it. */
import { ModelHost } from './model-host.ts';

const hour = 3_600_000;

export type Random = () => number;

type Event = (host: ModelHost, random: Random) => void;

/**
 * How often each happens, an event drawn, and what it does. Evidence never lies here: what is hidden from the record does not happen.
 * Troubles are multiplied by a life's roughness; what is left over is a tenant's VM that came and went.
 */
const troubles: readonly (readonly [share: number, event: Event])[] = [
  // An agent died: its supervisor says so, and what it left may lie about.
  [
    0.015,
    (host, random) => {
      delete host.record.cleanStart;
      if (random() < 0.5) host.set({ stray: true });
    },
  ],
  [0.01, (host) => host.boot()],
  [0.01, (host, random) => host.set({ firmwareNext: random() < 0.7 ? 'firmware-2' : 'firmware-3' })],
  [0.025, (host, random) => host.set({ layout: random() < 0.5 ? 'layout-1' : 'layout-2' })],
  [0.02, (host, random) => host.set({ network: random() < 0.5 ? 'network-1' : 'network-2' })],
  [0.02, (host, random) => host.set({ image: random() < 0.5 ? 'image-1' : 'image-2' })],
  // Memory goes bad; the machine counts the errors that it corrects.
  [0.0025, (host) => host.set({ memoryFault: true, errors: host.truth.errors + 1 })],
  [0.005, (host) => host.set({ errors: host.truth.errors + 1 })],
  [0.01, (host) => void host.record.dirty.push('its agent crashed during a rebuild')],
  [0.0025, (host) => host.set({ vms: 1 })],
  [0.015, (host, random) => host.wait(random() * 40 * 24 * hour)],
];

const eventsMax = 8;

/** `roughness`: how many times as often as usual things go wrong, 7 at most. */
export const live = (host: ModelHost, random: Random, roughness = 1): void => {
  const count = Math.floor(random() * (eventsMax + 1));
  for (let at = 0; at < count; at++) {
    host.wait(random() * 24 * hour);
    const draw = random();
    let sum = 0;
    const trouble = troubles.find(([share]) => {
      sum += share * roughness;
      return draw < sum;
    });
    if (trouble === undefined) host.set({ residue: true });
    else trouble[1](host, random);
  }
};

export const classes = ['edge-arm', 'rack-amd', 'rack-intel'] as const;

export const newHost = (random: Random): ModelHost =>
  new ModelHost(classes[Math.floor(random() * classes.length)] ?? classes[0]);
