/** DescribeInstanceAttribute. What belongs to the interface is shown as the region has it. */
import type { Instance } from '@aws-sdk/client-ec2';
import { PandoError } from '#contracts/errors.ts';
import { notFound } from '#contracts/ids.ts';
import { endDryRun } from '#wire/dryRun.ts';
import type { In, Out } from '#wire/types.ts';
import type { InstanceRow } from '../store/instances.ts';
import type { CellContext } from './context.ts';
import { findInstances } from './find.ts';
import { interfacesOf } from './interfaces.ts';
import { renderInstance } from './render.ts';

type Attribute = Out<'DescribeInstanceAttribute'>;

/** What each attribute's name shows. */
const shown: Readonly<Record<string, (row: InstanceRow) => Attribute>> = {
  instanceType: ({ spec }) => ({ InstanceType: { Value: spec.instanceType } }),
  userData: ({ spec }) => ({ UserData: spec.userData === undefined ? {} : { Value: spec.userData } }),
  disableApiTermination: ({ spec }) => ({ DisableApiTermination: { Value: spec.disableApiTermination } }),
  disableApiStop: ({ spec }) => ({ DisableApiStop: { Value: spec.disableApiStop } }),
  instanceInitiatedShutdownBehavior: ({ spec }) => ({
    InstanceInitiatedShutdownBehavior: { Value: spec.shutdownBehavior },
  }),
  rootDeviceName: ({ spec }) => ({ RootDeviceName: { Value: spec.image.rootDeviceName } }),
  ebsOptimized: ({ spec }) => ({ EbsOptimized: { Value: spec.ebsOptimized } }),
  enaSupport: () => ({ EnaSupport: { Value: true } }),
  sriovNetSupport: () => ({ SriovNetSupport: {} }),
  enclaveOptions: () => ({ EnclaveOptions: { Enabled: false } }),
  kernel: () => ({ KernelId: {} }),
  ramdisk: () => ({ RamdiskId: {} }),
  productCodes: () => ({ ProductCodes: [] }),
  blockDeviceMapping: (row) => ({ BlockDeviceMappings: renderInstance(row, {}).BlockDeviceMappings ?? [] }),
};

/** Those for which the region is asked. */
const shownOfInterface: Readonly<Record<string, (instance: Instance) => Attribute>> = {
  sourceDestCheck: ({ SourceDestCheck }) => ({ SourceDestCheck: { Value: SourceDestCheck } }),
  groupSet: ({ SecurityGroups }) => ({ Groups: SecurityGroups ?? [] }),
};

const attributeOf = async (context: CellContext, row: InstanceRow, name: string): Promise<Attribute> => {
  const own = Object.hasOwn(shown, name) ? shown[name] : undefined;
  if (own !== undefined) return own(row);
  const other = Object.hasOwn(shownOfInterface, name) ? shownOfInterface[name] : undefined;
  if (other !== undefined) return other(renderInstance(row, await interfacesOf(context, [row])));
  throw new PandoError(
    'InvalidParameterValue',
    `Value (${name.slice(0, 64)}) for parameter attribute is invalid. Unknown attribute.`,
  );
};

export const describeInstanceAttribute = async (
  input: In<'DescribeInstanceAttribute'>,
  context: CellContext,
): Promise<Attribute> => {
  const [row] = await findInstances(context, [input.InstanceId ?? '']);
  if (row === undefined) throw notFound('instance', input.InstanceId ?? '');
  const attribute = await attributeOf(context, row, input.Attribute ?? '');
  endDryRun(input);
  return { InstanceId: row.id, ...attribute };
};
