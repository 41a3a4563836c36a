/** What only the operator may do. */
import { sql } from 'kysely';
import { transact } from '#base/postgres/transaction.ts';
import { idKinds } from '#contracts/ids.ts';
import { ensureSystemAccount, systemAccountId } from './accounts.ts';
import type { Region } from './region.ts';
import { imageColumns } from './resources/images.ts';

const idHexDigits = 17;

/**
 * Takes in a built image for everyone. The images that Pando builds fetch their metadata by version 2, which is required of them.
 * Its id comes from its digest: registering it again changes nothing.
 */
export const registerPublicImage = async (
  region: Region,
  request: { readonly directory: string; readonly name: string },
): Promise<{ imageId: string; digest: string }> => {
  const manifest = await region.images.import(request.directory);
  const imageId = `${idKinds.image.prefix}-${manifest.digest.slice(0, idHexDigits)}`;
  await transact(region.db, async (tx) => {
    await ensureSystemAccount(tx);
    // A name means its newest image: an older one of that name can no longer be launched.
    await tx
      .updateTable('image')
      .set({ deregistered: true })
      .where('account_id', '=', systemAccountId)
      .where('name', '=', request.name)
      .where('image_id', '<>', imageId)
      .execute();
    await tx
      .insertInto('image')
      .values({
        image_id: imageId,
        account_id: systemAccountId,
        name: request.name,
        description: manifest.description,
        location: request.directory,
        is_public: true,
        root_device_name: '/dev/vda',
        imds_support: 'v2.0',
        ...imageColumns(manifest),
      })
      .onConflict((conflict) =>
        conflict.column('image_id').doUpdateSet({
          name: request.name,
          deregistered: false,
          imds_support: 'v2.0',
        }),
      )
      .execute();
  });
  return { imageId, digest: manifest.digest };
};

interface Counts {
  accounts: number;
  vpcs: number;
  interfaces: number;
  images: number;
  free: number;
  used: number;
}

export const regionStatus = async (region: Region) => {
  const { rows } = await sql<Counts>`
    select (select count(*) from account) as accounts, (select count(*) from vpc) as vpcs,
      (select count(*) from eni) as interfaces, (select count(*) from image where not deregistered) as images,
      (select count(*) from public_address where account_id is null and in_pool) as free,
      (select count(*) from public_address where account_id is not null) as used`.execute(region.db);
  const { free = 0, used = 0, ...counts } = rows[0] ?? { accounts: 0, vpcs: 0, interfaces: 0, images: 0 };
  return {
    region: region.config.regionName,
    ...counts,
    publicAddresses: { free, used },
    cells: [...region.cells].map(([cellId, cell]) => ({
      cellId,
      number: cell.number,
      processorsConnected: cell.connected,
    })),
    gatewayConnected: region.gateway.connected,
  };
};
