/** The differences of a device's namespaces as they are told: the same ones once, and no more than can be read. Pure. */
import {
  type KernelDifference,
  type KernelPreview,
  kernelDifferencesMax,
  kernelLineCharsMax,
  kernelLinesMax,
  namespacesNamedMax,
} from '#contracts/kernel-preview.ts';

/** What would change in one namespace; `vpcId` undefined: the device's own. */
export interface NamespaceDifference {
  readonly vpcId: string | undefined;
  readonly lines: readonly string[];
}

/** Those that have no difference are left out. */
export const previewOf = (namespaces: readonly NamespaceDifference[]): KernelPreview => {
  const same = Map.groupBy(
    namespaces.filter(({ lines }) => lines.length > 0),
    ({ vpcId, lines }) => JSON.stringify([vpcId === undefined, lines]),
  );
  const sorted = [...same.values()].sort((a, b) => b.length - a.length);
  const left = sorted.slice(kernelDifferencesMax);
  return {
    differences: sorted.slice(0, kernelDifferencesMax).map(differenceOf),
    more: left.reduce((sum, each) => sum + each.length, 0),
  };
};

const differenceOf = (same: readonly NamespaceDifference[]): KernelDifference => {
  const lines = same[0]?.lines ?? [];
  return {
    vpcIds: same.flatMap(({ vpcId }) => vpcId ?? []).slice(0, namespacesNamedMax),
    namespaces: same.length,
    lines: lines.slice(0, kernelLinesMax).map((line) => line.slice(0, kernelLineCharsMax)),
    more: Math.max(0, lines.length - kernelLinesMax),
  };
};
