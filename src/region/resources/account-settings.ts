/**
 * Settings of an account in this region that stand where they are: what they would switch on is not built. Switching off what is off
 * succeeds; the actions that switch on are not built, so that nobody believes in an encryption that there is not.
 */
import { PandoError } from '#contracts/errors.ts';
import { endDryRun } from '#wire/dryRun.ts';
import type { Handlers } from '#wire/types.ts';
import type { ActionContext } from '../context.ts';

const defaultKey = 'alias/aws/ebs';

export const accountSettingsHandlers: Handlers<ActionContext> = {
  async GetEbsEncryptionByDefault(input) {
    endDryRun(input);
    return { EbsEncryptionByDefault: false, SseType: 'none' };
  },
  async DisableEbsEncryptionByDefault(input) {
    endDryRun(input);
    return { EbsEncryptionByDefault: false };
  },
  async GetEbsDefaultKmsKeyId(input) {
    endDryRun(input);
    return { KmsKeyId: defaultKey };
  },
  async ResetEbsDefaultKmsKeyId(input) {
    endDryRun(input);
    return { KmsKeyId: defaultKey };
  },
  async ModifyEbsDefaultKmsKeyId(input) {
    if (input.KmsKeyId !== defaultKey)
      throw new PandoError('UnsupportedOperation', 'Keys of your own are not available in this region.');
    endDryRun(input);
    return { KmsKeyId: defaultKey };
  },

  async GetSerialConsoleAccessStatus(input) {
    endDryRun(input);
    return { SerialConsoleAccessEnabled: false, ManagedBy: 'account' };
  },
  async DisableSerialConsoleAccess(input) {
    endDryRun(input);
    return { SerialConsoleAccessEnabled: false };
  },

  async GetSnapshotBlockPublicAccessState(input) {
    endDryRun(input);
    return { State: 'unblocked', ManagedBy: 'account' };
  },
  async GetImageBlockPublicAccessState(input) {
    endDryRun(input);
    return { ImageBlockPublicAccessState: 'unblocked', ManagedBy: 'account' };
  },
  async GetAllowedImagesSettings(input) {
    endDryRun(input);
    return { State: 'disabled', ImageCriteria: [], ManagedBy: 'account' };
  },
  async DescribeVpcBlockPublicAccessOptions(input, context) {
    endDryRun(input);
    return {
      VpcBlockPublicAccessOptions: {
        AwsAccountId: context.accountId,
        AwsRegion: context.region.config.regionName,
        State: 'default-state',
        InternetGatewayBlockMode: 'off',
        ManagedBy: 'account',
        ExclusionsAllowed: 'allowed',
      },
    };
  },
};
