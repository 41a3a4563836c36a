/** EC2's error for an id of a kind that the account does not have. */
import { type ErrorCode, isErrorCode, PandoError } from '#contracts/errors.ts';
import { type IdKind, idKinds } from '#contracts/ids.ts';

const codes: Partial<Record<IdKind, ErrorCode>> = {
  securityGroup: 'InvalidGroup.NotFound',
  routeTableAssociation: 'InvalidAssociationID.NotFound',
  placementGroup: 'InvalidPlacementGroup.Unknown',
};

const nouns: Partial<Record<IdKind, string>> = {
  vpc: 'vpc ID',
  subnet: 'subnet ID',
  securityGroup: 'security group',
  image: 'image id',
  internetGateway: 'internetGateway ID',
  routeTable: 'routeTable ID',
  networkAcl: 'networkAcl ID',
  networkInterface: 'networkInterface ID',
};

export const notFound = (kind: IdKind, id: string): PandoError => {
  const code = codes[kind] ?? `${idKinds[kind].stem}.NotFound`;
  return new PandoError(
    isErrorCode(code) ? code : 'InvalidParameterValue',
    `The ${nouns[kind] ?? kind} '${id.slice(0, 64)}' does not exist`,
  );
};
