/** What the metadata service of a card answers for one VM. Made by its cell, kept by its card. */
import { z } from 'zod';

/**
 * The identity document as the region's key signed it. `signature`: of the document's bytes, RSA with SHA-256, base64. `pkcs7`: the
 * same in a PKCS #7 of signed data with the document in it and no certificate, base64 without header lines.
 */
export const signedIdentity = z.object({
  document: z.string().max(4_096),
  signature: z.string().max(1_024),
  pkcs7: z.string().max(8_192),
});
export type SignedIdentity = z.infer<typeof signedIdentity>;

/** Credentials of an instance under its profile; the times ISO 8601, to the second. */
export const temporaryCredentials = z.object({
  accessKeyId: z.string().max(128),
  secretAccessKey: z.string().max(128),
  token: z.string().max(2_048),
  lastUpdated: z.string().max(32),
  expiration: z.string().max(32),
});
export type TemporaryCredentials = z.infer<typeof temporaryCredentials>;

/** The profile that an instance runs with. */
export const guestProfile = z.object({
  arn: z.string(),
  profileId: z.string(),
  /** Its role has the same name. */
  name: z.string(),
  /** Absent: the profile has been deleted. */
  credentials: temporaryCredentials.optional(),
});
export type GuestProfile = z.infer<typeof guestProfile>;

/** What only the cell knows of what is signed; the rest the region has of its own. */
export const identityClaims = z.object({
  imageId: z.string().max(64),
  instanceType: z.string().max(64),
  /** `x86_64` or `arm64`. */
  architecture: z.string().max(16),
  /** ISO 8601. */
  pendingTime: z.iso.datetime(),
});
export type IdentityClaims = z.infer<typeof identityClaims>;

/** Fields that are optional are absent in what the last release sent or kept. */
export const vmMetadata = z.object({
  instanceId: z.string(),
  accountId: z.string(),
  imageId: z.string(),
  instanceType: z.string(),
  reservationId: z.string(),
  launchIndex: z.number().int(),
  hostname: z.string(),
  availabilityZone: z.string(),
  availabilityZoneId: z.string().optional(),
  region: z.string(),
  /** Name of the placement group that it is in. */
  placementGroup: z.string().optional(),
  /** Its number in a group of partitions. */
  partitionNumber: z.number().int().optional(),
  /** What the instance's root device is called. */
  rootDeviceName: z.string().optional(),
  keyName: z.string().optional(),
  publicKey: z.string().optional(),
  /** User data, base64. */
  userData: z.string().optional(),
  /** Names of the groups that its interface carries. */
  groups: z.array(z.object({ groupId: z.string(), groupName: z.string() })).optional(),
  /** The instance's tags, where its owner lets the guest see them; absent: he does not. */
  tags: z.array(z.object({ Key: z.string(), Value: z.string() })).optional(),
  monitoring: z.boolean().optional(),
  identity: signedIdentity.optional(),
  profile: guestProfile.optional(),
  /** `required`: version 1 requests get 401. */
  httpTokens: z.enum(['optional', 'required']),
  httpEndpoint: z.enum(['enabled', 'disabled']),
  hopLimit: z.number().int().min(1).max(64),
  launchTime: z.string(),
});
export type VmMetadata = z.infer<typeof vmMetadata>;
