/** Ids: one branded string type per kind, made and checked from one list. EC2's syntax: prefix, dash, 17 hex digits. */
import { randomBytes } from 'node:crypto';
import { type ErrorCode, isErrorCode, PandoError } from './errors.ts';

type Brand<K extends string> = string & { readonly __kind: K };

/** Kind → prefix and EC2's error-code stem (`InvalidVpcID` → `InvalidVpcID.NotFound`, `.Malformed`). */
export const idKinds = {
  instance: { prefix: 'i', stem: 'InvalidInstanceID' },
  reservation: { prefix: 'r', stem: 'InvalidReservationID' },
  image: { prefix: 'ami', stem: 'InvalidAMIID' },
  keyPair: { prefix: 'key', stem: 'InvalidKeyPair' },
  vpc: { prefix: 'vpc', stem: 'InvalidVpcID' },
  subnet: { prefix: 'subnet', stem: 'InvalidSubnetID' },
  securityGroup: { prefix: 'sg', stem: 'InvalidGroup' },
  securityGroupRule: { prefix: 'sgr', stem: 'InvalidSecurityGroupRuleId' },
  internetGateway: { prefix: 'igw', stem: 'InvalidInternetGatewayID' },
  routeTable: { prefix: 'rtb', stem: 'InvalidRouteTableID' },
  routeTableAssociation: { prefix: 'rtbassoc', stem: 'InvalidAssociationID' },
  networkAcl: { prefix: 'acl', stem: 'InvalidNetworkAclID' },
  launchTemplate: { prefix: 'lt', stem: 'InvalidLaunchTemplateId' },
  placementGroup: { prefix: 'pg', stem: 'InvalidPlacementGroupId' },
  dhcpOptions: { prefix: 'dopt', stem: 'InvalidDhcpOptionsID' },
  networkInterface: { prefix: 'eni', stem: 'InvalidNetworkInterfaceID' },
  interfaceAttachment: { prefix: 'eni-attach', stem: 'InvalidAttachmentID' },
  allocation: { prefix: 'eipalloc', stem: 'InvalidAllocationID' },
  addressAssociation: { prefix: 'eipassoc', stem: 'InvalidAssociationID' },
  volume: { prefix: 'vol', stem: 'InvalidVolume' },
  snapshot: { prefix: 'snap', stem: 'InvalidSnapshot' },
  workflow: { prefix: 'wf', stem: 'InvalidWorkflowID' },
  host: { prefix: 'h', stem: 'InvalidHostID' },
} as const satisfies Record<string, { prefix: string; stem: string }>;

export type IdKind = keyof typeof idKinds;
export type Id<K extends IdKind> = Brand<K>;
export type InstanceId = Id<'instance'>;

const idHexDigits = 17;
/** Hex digits of an instance id (volume id, reservation id) that name its cell (S3.4): up to 4,095 cells. */
const cellHexDigits = 3;
export const cellNumberMax = 0xfff;

const hex = (digits: number): string =>
  randomBytes(Math.ceil(digits / 2))
    .toString('hex')
    .slice(0, digits);

/** A new random id of a region's resource. */
export const newId = <K extends IdKind>(kind: K): Id<K> =>
  `${idKinds[kind].prefix}-${hex(idHexDigits)}` as Id<K>;

/** A new id whose first digits name the cell that owns it (S3.4). */
export const newCellId = <K extends IdKind>(kind: K, cellNumber: number): Id<K> => {
  if (!Number.isInteger(cellNumber) || cellNumber < 0 || cellNumber > cellNumberMax)
    throw new RangeError(`cell number ${cellNumber} is outside 0..${cellNumberMax}`);
  const cell = cellNumber.toString(16).padStart(cellHexDigits, '0');
  return `${idKinds[kind].prefix}-${cell}${hex(idHexDigits - cellHexDigits)}` as Id<K>;
};

/** Whether `text` has the syntax of an id of this kind. */
export const isId = <K extends IdKind>(kind: K, text: string): text is Id<K> =>
  text.startsWith(`${idKinds[kind].prefix}-`) &&
  /^[0-9a-f]{17}$/.test(text.slice(idKinds[kind].prefix.length + 1));

/** EC2 names a few kinds otherwise where the syntax is wrong than where the thing is absent. */
const malformedStems: Partial<Record<IdKind, string>> = {
  securityGroup: 'InvalidGroupId',
  volume: 'InvalidVolumeID',
  snapshot: 'InvalidSnapshotID',
};

/** Parses an id of this kind, or throws EC2's `…Malformed` error. */
export const parseId = <K extends IdKind>(kind: K, text: string): Id<K> => {
  if (isId(kind, text)) return text;
  const stem = malformedStems[kind] ?? idKinds[kind].stem;
  const code = isErrorCode(`${stem}.Malformed`)
    ? (`${stem}.Malformed` as ErrorCode)
    : 'InvalidParameterValue';
  throw new PandoError(code, `Invalid id: "${text.slice(0, 64)}" (expecting "${idKinds[kind].prefix}-...")`);
};

/** The number of the cell that an instance (or other cell-owned) id names (S3.4). */
export const cellNumberOf = (id: string): number =>
  Number.parseInt(id.slice(id.lastIndexOf('-') + 1).slice(0, cellHexDigits), 16);

/** The snapshot that an image's root device is made of: an id of the image's own, since an image has no other disk. */
export const snapshotIdOf = (imageId: string): Id<'snapshot'> =>
  `${idKinds.snapshot.prefix}-${imageId.slice(imageId.indexOf('-') + 1)}` as Id<'snapshot'>;
