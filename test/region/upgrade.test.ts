/** What the last release has written is understood: its rows under this release's schema. */
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { type Kysely, sql } from 'kysely';
import { openDatabase } from '#base/postgres/database.ts';
import { migrate } from '#base/postgres/migrate.ts';
import { regionMigrations } from '#region/migrations.ts';
import type { RegionSchema } from '#region/schema.ts';
import { startTestDatabase, type TestDatabase } from '../base/postgres/test-database.ts';

let database: TestDatabase;
let db: Kysely<RegionSchema>;
before(async () => {
  database = await startTestDatabase();
  db = openDatabase<RegionSchema>({ url: database.url, poolMax: 2 });
});
after(async () => {
  await db.destroy();
  await database.stop();
});

test('interfaces of the last release: those that asked for an automatic public address get it back', async () => {
  await migrate(
    db,
    regionMigrations.filter(({ name }) => name < '0006'),
  );
  await sql
    .raw(`
    insert into account (account_id, name) values ('111122223333', 'a');
    insert into dhcp_options values ('dopt-1', '111122223333', '[]');
    insert into vpc (vpc_id, account_id, cidr, dhcp_options_id) values ('vpc-1', '111122223333', '10.0.0.0/16', 'dopt-1');
    insert into subnet (subnet_id, account_id, vpc_id, cidr, zone, map_public_ip, acl_association_id, base, last_host)
      values ('public', '111122223333', 'vpc-1', '10.0.0.0/24', 'z', true, 'x', 167772160, 254),
             ('private', '111122223333', 'vpc-1', '10.0.1.0/24', 'z', false, 'y', 167772416, 254);
    insert into eni (eni_id, account_id, vpc_id, subnet_id, instance_id, attachment_id, mac, host, ip, group_ids)
      select name, '111122223333', 'vpc-1', subnet, 'i-' || name, 'x', name, n, '10.0.0.' || n, '{}'
      from (values ('automatic', 'private', 5), ('elastic-public', 'public', 6), ('elastic-private', 'private', 7), ('none', 'public', 8))
        as rows (name, subnet, n);
    insert into public_address (ip, number, account_id, allocation_id, eni_id, association_id) values
      ('203.0.113.1', 1, '111122223333', null, 'automatic', 'a1'),
      ('203.0.113.2', 2, '111122223333', 'e2', 'elastic-public', 'a2'),
      ('203.0.113.3', 3, '111122223333', 'e3', 'elastic-private', 'a3');`)
    .execute(db);
  await migrate(db, regionMigrations);
  const rows = await db.selectFrom('eni').select(['eni_id', 'auto_public']).orderBy('host').execute();
  assert.deepEqual(
    rows.map((row) => [row.eni_id, row.auto_public]),
    [
      ['automatic', true],
      ['elastic-public', true],
      ['elastic-private', false],
      // Its subnet may have been changed after its launch: it has no address now, and that stays.
      ['none', false],
    ],
  );
});
