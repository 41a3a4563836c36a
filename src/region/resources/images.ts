/** Images: an account's own and the public ones. */
import { PandoError } from '#contracts/errors.ts';
import { newId, parseId, snapshotIdOf } from '#contracts/ids.ts';
import type { ImageManifest } from '#contracts/image-manifest.ts';
import { endDryRun } from '#wire/dryRun.ts';
import type { FilterSpec } from '#wire/filters.ts';
import type { Handlers, Out } from '#wire/types.ts';
import { systemAccountId } from '../accounts.ts';
import { change, lockAccount } from '../change.ts';
import type { ActionContext } from '../context.ts';
import { describe, withTags } from '../describe.ts';
import { mibOf } from '../images.ts';
import { notFound } from '../not-found.ts';
import { deleteTagsOf, insertTags, type Tagged, tagsOnCreate } from '../resource-tags.ts';
import type { Row } from '../schema.ts';

type Image = NonNullable<Out<'DescribeImages'>['Images']>[number];
type ImageRow = Row<'image'> & Tagged;

const defaultRootDevice = '/dev/vda';

const aliasOf = (image: ImageRow): string | undefined =>
  image.account_id === systemAccountId ? 'amazon' : undefined;
const ownerName = (context: ActionContext, owner: string): string =>
  owner === 'self' ? context.accountId : owner === 'amazon' ? systemAccountId : owner;

const show = (image: ImageRow): Image => ({
  ImageId: image.image_id,
  ImageLocation: `${image.account_id}/${image.name}`,
  ImageType: 'machine',
  ImageOwnerAlias: aliasOf(image),
  Name: image.name,
  Description: image.description ?? undefined,
  OwnerId: image.account_id,
  Public: image.is_public,
  State: 'available',
  Architecture: architectureOf(image),
  BootMode: 'legacy-bios',
  CreationDate: image.created_at.toISOString(),
  EnaSupport: true,
  // EC2's word for what is virtualized whole: its list has no other.
  Hypervisor: 'xen',
  PlatformDetails: 'Linux/UNIX',
  UsageOperation: 'RunInstances',
  RootDeviceName: image.root_device_name,
  RootDeviceType: 'ebs',
  VirtualizationType: 'hvm',
  ...(image.imds_support === null ? {} : { ImdsSupport: image.imds_support }),
  ProductCodes: [],
  BlockDeviceMappings: [
    {
      DeviceName: image.root_device_name,
      Ebs: {
        DeleteOnTermination: true,
        Encrypted: false,
        SnapshotId: snapshotIdOf(image.image_id),
        VolumeSize: Math.ceil(image.disk_virtual_mib / 1024),
        VolumeType: 'gp3',
      },
    },
  ],
  Tags: image.tags,
});

const architectureOf = (image: ImageRow) =>
  image.architecture === 'arm64' ? ('arm64' as const) : ('x86_64' as const);

/** Filters by what no image here has: they match none. */
const unmatched: FilterSpec<ImageRow> = Object.fromEntries(
  [
    'image-watermark.source-image-creation-time',
    'image-watermark.source-image-id',
    'image-watermark.source-image-region',
    'image-watermark.watermark-creation-time',
    'image-watermark.watermark-key',
    'public-ssm-parameter-name',
    'scan-result.critical-fix-available-since',
    'scan-result.finding-scan-date',
    'scan-result.high-fix-available-since',
    'scan-result.highest-finding-severity-label',
    'scan-result.informational-fix-available-since',
    'scan-result.low-fix-available-since',
    'scan-result.medium-fix-available-since',
  ].map((name) => [name, () => undefined]),
);

const filters: FilterSpec<ImageRow> = {
  ...unmatched,
  architecture: (image) => image.architecture,
  'block-device-mapping.delete-on-termination': () => true,
  'block-device-mapping.device-name': (image) => image.root_device_name,
  'block-device-mapping.encrypted': () => false,
  'block-device-mapping.snapshot-id': (image) => snapshotIdOf(image.image_id),
  'block-device-mapping.volume-size': (image) => Math.ceil(image.disk_virtual_mib / 1024),
  'block-device-mapping.volume-type': () => 'gp3',
  'creation-date': (image) => image.created_at,
  description: (image) => image.description,
  'ena-support': () => true,
  'free-tier-eligible': () => false,
  hypervisor: () => 'xen',
  'image-allowed': () => true,
  'image-id': (image) => image.image_id,
  'image-type': () => 'machine',
  'is-public': (image) => image.is_public,
  'kernel-id': () => undefined,
  'manifest-location': (image) => `${image.account_id}/${image.name}`,
  name: (image) => image.name,
  'owner-alias': aliasOf,
  'owner-id': (image) => image.account_id,
  platform: () => undefined,
  'product-code': () => undefined,
  'product-code.type': () => undefined,
  'ramdisk-id': () => undefined,
  'root-device-name': (image) => image.root_device_name,
  'root-device-type': () => 'ebs',
  'source-image-id': () => undefined,
  'source-image-region': () => undefined,
  'source-instance-id': () => undefined,
  'sriov-net-support': () => undefined,
  state: () => 'available',
  'state-reason-code': () => undefined,
  'state-reason-message': () => undefined,
  'virtualization-type': () => 'hvm',
};

/** What the region remembers of a taken-in image. */
export const imageColumns = (manifest: ImageManifest) => ({
  digest: manifest.digest,
  architecture: manifest.architecture,
  boot_mode: manifest.bootMode,
  min_memory_mib: manifest.minMemoryMib,
  disk_virtual_mib: mibOf(manifest.files.disk.virtualBytes),
});

const visible = (context: ActionContext) =>
  context.region.db
    .selectFrom('image')
    .selectAll()
    .where('deregistered', '=', false)
    .where((row) => row.or([row('account_id', '=', context.accountId), row('is_public', '=', true)]))
    .execute();

export const imageHandlers: Handlers<ActionContext> = {
  async RegisterImage(input, context) {
    const { Name: name, ImageLocation: location } = input;
    if (!/^[A-Za-z0-9()[\] ./'@_-]{3,128}$/.test(name))
      throw new PandoError(
        'InvalidAMIName.Malformed',
        "AMI names must be between 3 and 128 characters long, and may contain letters, numbers, and ()[] ./-'@_",
      );
    if (location === undefined)
      throw new PandoError('MissingParameter', 'The request must contain the parameter ImageLocation');
    if (input.BootMode !== undefined && input.BootMode !== 'legacy-bios')
      throw new PandoError('UnsupportedOperation', `Boot mode '${input.BootMode}' is not supported.`);
    if (input.ImdsSupport !== undefined && input.ImdsSupport !== 'v2.0')
      throw new PandoError(
        'InvalidParameterValue',
        `Invalid value '${String(input.ImdsSupport).slice(0, 64)}' for ImdsSupport: it is v2.0.`,
      );
    const tags = tagsOnCreate(input.TagSpecifications, 'image');
    endDryRun(input);
    const manifest = await context.region.images.import(location);
    const imageId = newId('image');
    await change(context, input, async (tx) => {
      await lockAccount(tx, context.accountId);
      const own = await tx
        .selectFrom('image')
        .select(['name', 'image_id'])
        .where('account_id', '=', context.accountId)
        .where('deregistered', '=', false)
        .execute();
      const same = own.find((image) => image.name === name);
      if (same !== undefined)
        throw new PandoError(
          'InvalidAMIName.Duplicate',
          `AMI name ${name} is already in use by AMI ${same.image_id}`,
        );
      if (own.length >= context.region.config.limits.imagesPerAccountMax)
        throw new PandoError('ResourceLimitExceeded', 'The maximum number of images has been reached.');
      await tx
        .insertInto('image')
        .values({
          image_id: imageId,
          account_id: context.accountId,
          name,
          description: input.Description ?? null,
          location,
          is_public: false,
          root_device_name: input.RootDeviceName ?? defaultRootDevice,
          imds_support: input.ImdsSupport ?? null,
          ...imageColumns(manifest),
        })
        .execute();
      await insertTags(tx, context.accountId, 'image', imageId, tags);
    });
    return { ImageId: imageId };
  },

  async DescribeImages(input, context) {
    const all = await withTags(context, 'image', visible(context), (image) => image.image_id);
    const owners = input.Owners?.map((owner) => ownerName(context, owner));
    const users = input.ExecutableUsers;
    const rows = all
      .filter((image) => owners === undefined || owners.length === 0 || owners.includes(image.account_id))
      .filter((image) => users === undefined || users.length === 0 || executable(context, image, users));
    const page = describe(rows, input, context, {
      action: 'DescribeImages',
      idOf: (image) => image.image_id,
      filters,
      tagsOf: (image) => image.tags,
      ids: { kind: 'image', parameter: 'imageIds', values: input.ImageIds },
    });
    return { Images: page.items.map(show), NextToken: page.nextToken };
  },

  async DeregisterImage(input, context) {
    await change(context, input, async (tx) => {
      const image = await tx
        .selectFrom('image')
        .selectAll()
        .where('image_id', '=', parseId('image', input.ImageId))
        .where('deregistered', '=', false)
        .forUpdate()
        .executeTakeFirst();
      const shown = image !== undefined && (image.is_public || image.account_id === context.accountId);
      if (!shown) throw notFound('image', input.ImageId);
      if (image.account_id !== context.accountId)
        throw new PandoError('AuthFailure', `Not authorized for image: ${image.image_id}`);
      // The row and the files stay: instances that were launched from it may start again elsewhere.
      await tx
        .updateTable('image')
        .set({ deregistered: true })
        .where('image_id', '=', image.image_id)
        .execute();
      await deleteTagsOf(tx, image.image_id);
    });
    return { Return: true };
  },
};

const executable = (context: ActionContext, image: ImageRow, users: readonly string[]): boolean =>
  users.some((user) =>
    user === 'all' ? image.is_public : user === 'self' ? image.account_id === context.accountId : false,
  );
