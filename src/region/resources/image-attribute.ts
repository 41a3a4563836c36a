/** One attribute of an image, told to its owner. */
import { PandoError } from '#contracts/errors.ts';
import { parseId } from '#contracts/ids.ts';
import { endDryRun } from '#wire/dryRun.ts';
import type { Handlers, Out } from '#wire/types.ts';
import type { ActionContext } from '../context.ts';
import { notFound } from '../not-found.ts';
import type { Row } from '../schema.ts';

type Attribute = Omit<Out<'DescribeImageAttribute'>, 'ImageId'>;

const mibPerGib = 1024;

const shown: Readonly<Record<string, (image: Row<'image'>) => Attribute>> = {
  description: (image) => ({ Description: { Value: image.description ?? '' } }),
  launchPermission: (image) => ({ LaunchPermissions: image.is_public ? [{ Group: 'all' }] : [] }),
  productCodes: () => ({ ProductCodes: [] }),
  kernel: () => ({ KernelId: {} }),
  ramdisk: () => ({ RamdiskId: {} }),
  sriovNetSupport: () => ({ SriovNetSupport: {} }),
  bootMode: () => ({ BootMode: { Value: 'legacy-bios' } }),
  imdsSupport: (image) => ({ ImdsSupport: image.imds_support === null ? {} : { Value: image.imds_support } }),
  deregistrationProtection: () => ({ DeregistrationProtection: { Value: 'disabled' } }),
  blockDeviceMapping: (image) => ({
    BlockDeviceMappings: [
      {
        DeviceName: image.root_device_name,
        Ebs: {
          DeleteOnTermination: true,
          Encrypted: false,
          VolumeSize: Math.ceil(image.disk_virtual_mib / mibPerGib),
          VolumeType: 'gp3',
        },
      },
    ],
  }),
};

export const imageAttributeHandlers: Handlers<ActionContext> = {
  async DescribeImageAttribute(input, context) {
    const show = Object.hasOwn(shown, input.Attribute) ? shown[input.Attribute] : undefined;
    if (show === undefined)
      throw new PandoError(
        'InvalidParameterValue',
        `Value (${input.Attribute.slice(0, 64)}) for parameter attribute is invalid. Expecting ${Object.keys(shown).join(', ')}.`,
      );
    const image = await context.region.db
      .selectFrom('image')
      .selectAll()
      .where('image_id', '=', parseId('image', input.ImageId))
      .where('deregistered', '=', false)
      .where((row) => row.or([row('account_id', '=', context.accountId), row('is_public', '=', true)]))
      .executeTakeFirst();
    if (image === undefined) throw notFound('image', input.ImageId);
    if (image.account_id !== context.accountId)
      throw new PandoError('AuthFailure', `Not authorized for image:${image.image_id}`);
    endDryRun(input);
    return { ImageId: image.image_id, ...show(image) };
  },
};
