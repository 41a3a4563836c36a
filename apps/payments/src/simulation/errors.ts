/**
 * How far fixes are from the truth, and what receivers say about it. Errors have heavy tails (reflections, a Wi-Fi database that is out of
 * date), and stated radii are too small more often than too large.
 */
import type { DeviceSource } from '../contract/location.ts';
import { normal } from './random.ts';

interface Model {
  /** σ on each axis, metres. */
  readonly outdoors: number;
  readonly indoors: number;
  /** Share of fixes that are wrong altogether, and how many times the usual error they have. */
  readonly outlierShare: number;
  readonly outlierFactor: number;
  /** Median of stated over true 95 % radius: below 1 is too sure. */
  readonly statedRatio: number;
}

export const models: Readonly<Record<DeviceSource, Model>> = {
  gnss: { outdoors: 4, indoors: 11, outlierShare: 0.02, outlierFactor: 5, statedRatio: 0.85 },
  wifi: { outdoors: 20, indoors: 13, outlierShare: 0.03, outlierFactor: 6, statedRatio: 0.8 },
  fused: { outdoors: 7, indoors: 13, outlierShare: 0.025, outlierFactor: 5, statedRatio: 0.8 },
  cell: { outdoors: 220, indoors: 260, outlierShare: 0.03, outlierFactor: 3, statedRatio: 0.9 },
};

const radius95PerSigma = 2.4477;

export interface SimulatedFix {
  readonly dx: number;
  readonly dy: number;
  readonly accuracyM: number;
}

export function measure(source: DeviceSource, isIndoors: boolean, next: () => number): SimulatedFix {
  const model = models[source];
  // Reception differs from place to place and moment to moment.
  const sigma = (isIndoors ? model.indoors : model.outdoors) * Math.exp(0.35 * normal(next));
  const scale = next() < model.outlierShare ? sigma * model.outlierFactor : sigma;
  return {
    dx: scale * normal(next),
    dy: scale * normal(next),
    accuracyM: Math.max(1, sigma * radius95PerSigma * model.statedRatio * Math.exp(0.25 * normal(next))),
  };
}
