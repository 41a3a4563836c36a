/** The EC2 actions that a cell answers. */

import { PandoError } from '#contracts/errors.ts';
import { callHandler, isKnownAction } from '#wire/actions.ts';
import { reviveInputInTurns } from '#wire/transport.ts';
import type { Handlers } from '#wire/types.ts';
import { describeInstanceAttribute } from './attributes.ts';
import {
  cancelCapacityReservation,
  createCapacityReservation,
  describeCapacityReservations,
  modifyCapacityReservation,
} from './capacity-reservations.ts';
import { getConsoleOutput } from './console.ts';
import type { CellContext, CellRequest } from './context.ts';
import { allocateHosts, describeHosts, modifyHosts, releaseHosts } from './dedicated-hosts.ts';
import { describeInstanceTypeOfferings } from './describe-instance-type-offerings.ts';
import { describeInstanceTypes } from './describe-instance-types.ts';
import { describeInstances } from './describe-instances.ts';
import { describeInstanceCreditSpecifications, describeInstanceStatus } from './describe-status.ts';
import { describeVolumeStatus } from './describe-volume-status.ts';
import { describeVolumes } from './describe-volumes.ts';
import { modifyInstanceEventStartTime } from './event-start.ts';
import { modifyInstanceCapacityReservationAttributes } from './instance-reservation.ts';
import { getLaunchTemplateData } from './launch-template-data.ts';
import { rebootInstances, startInstances, stopInstances, terminateInstances } from './lifecycle.ts';
import { modifyInstanceMaintenanceOptions } from './maintenance-options.ts';
import { cellMembers } from './members.ts';
import { modifyInstanceMetadataOptions } from './metadata-options.ts';
import { modifyInstanceAttribute } from './modify-attribute.ts';
import { modifyInstancePlacement } from './modify-placement.ts';
import {
  associateIamInstanceProfile,
  describeIamInstanceProfileAssociations,
  disassociateIamInstanceProfile,
  replaceIamInstanceProfileAssociation,
} from './profile-associations.ts';
import { runInstances } from './run-instances.ts';
import { createTags, deleteTags, describeTags } from './tags.ts';

export type { CellContext } from './context.ts';

export const cellHandlers: Handlers<CellContext> = {
  RunInstances: runInstances,
  DescribeInstances: describeInstances,
  StartInstances: startInstances,
  StopInstances: stopInstances,
  RebootInstances: rebootInstances,
  TerminateInstances: terminateInstances,
  DescribeInstanceStatus: describeInstanceStatus,
  DescribeInstanceAttribute: describeInstanceAttribute,
  ModifyInstanceAttribute: modifyInstanceAttribute,
  ModifyInstanceEventStartTime: modifyInstanceEventStartTime,
  ModifyInstanceMaintenanceOptions: modifyInstanceMaintenanceOptions,
  ModifyInstanceMetadataOptions: modifyInstanceMetadataOptions,
  ModifyInstancePlacement: modifyInstancePlacement,
  CreateCapacityReservation: createCapacityReservation,
  DescribeCapacityReservations: describeCapacityReservations,
  ModifyCapacityReservation: modifyCapacityReservation,
  CancelCapacityReservation: cancelCapacityReservation,
  ModifyInstanceCapacityReservationAttributes: modifyInstanceCapacityReservationAttributes,
  AllocateHosts: allocateHosts,
  DescribeHosts: describeHosts,
  ModifyHosts: modifyHosts,
  ReleaseHosts: releaseHosts,
  DescribeInstanceTypes: describeInstanceTypes,
  DescribeInstanceTypeOfferings: describeInstanceTypeOfferings,
  DescribeInstanceCreditSpecifications: describeInstanceCreditSpecifications,
  GetConsoleOutput: getConsoleOutput,
  GetLaunchTemplateData: getLaunchTemplateData,
  DescribeVolumes: describeVolumes,
  DescribeVolumeStatus: describeVolumeStatus,
  AssociateIamInstanceProfile: associateIamInstanceProfile,
  DisassociateIamInstanceProfile: disassociateIamInstanceProfile,
  ReplaceIamInstanceProfileAssociation: replaceIamInstanceProfileAssociation,
  DescribeIamInstanceProfileAssociations: describeIamInstanceProfileAssociations,
  CreateTags: createTags,
  DeleteTags: deleteTags,
  DescribeTags: describeTags,
};

/** The actions' names, for routers and tests. */
export const cellActions: readonly string[] = Object.keys(cellHandlers);

export type Ec2Call = (
  request: CellRequest & { readonly action: string; readonly input?: unknown },
) => Promise<{ output: unknown }>;

/** The handler of `ec2.call`. */
export const createEc2Call =
  (shared: Omit<CellContext, 'request'>): Ec2Call =>
  async ({ action, input, ...request }) => {
    if (!isKnownAction(action))
      throw new PandoError('InvalidAction', `The action ${action} is not valid for this web service.`);
    const output = await callHandler(
      { handlers: cellHandlers, members: cellMembers },
      action,
      await reviveInputInTurns(action, input ?? {}),
      {
        ...shared,
        request,
      },
    );
    return { output };
  };
