/** A store's rows at one moment, and the way back to it. */

type Look = (sql: string) => readonly (string | null)[][];

export interface Dump {
  readonly tables: readonly { readonly name: string; readonly columns: string; readonly rows: string }[];
  readonly sequences: readonly { readonly name: string; readonly value: string | null }[];
}

const literal = (text: string): string => `'${text.replaceAll("'", "''")}'`;

export const dumpOf = (look: Look): Dump => {
  const tables = look(`
    select c.relname, (select string_agg(quote_ident(attname), ', ' order by attnum) from pg_attribute
      where attrelid = c.oid and attnum > 0 and not attisdropped and attgenerated = '')
    from pg_class c join pg_namespace n on n.oid = c.relnamespace
    where n.nspname = 'public' and c.relkind = 'r' order by c.relname`);
  return {
    tables: tables.map(([name, columns]) => ({
      name: name ?? '',
      columns: columns ?? '',
      // As text, which is exact: JSON's null would come back as no value at all.
      rows: look(`select coalesce(json_agg(whole_row::text), '[]') from ${name} whole_row`)[0]?.[0] ?? '[]',
    })),
    sequences: look(
      `select sequencename, last_value::text from pg_sequences where schemaname = 'public' order by 1`,
    ).map(([name, value]) => ({ name: name ?? '', value: value ?? null })),
  };
};

/** No trigger runs: what they did is in the rows. Rows are deleted, tables stay: so plans stay what they are. */
export const refill = (look: Look, { tables, sequences }: Dump): void => {
  look('begin');
  look('set local session_replication_role = replica');
  for (const { name, columns, rows } of tables) {
    look(`delete from ${name}`);
    const values = columns.split(', ').map((column) => `(whole_row).${column}`);
    if (rows !== '[]')
      look(
        `insert into ${name} (${columns}) select ${values.join(', ')} from (select value::${name} as whole_row
          from json_array_elements_text(${literal(rows)}) offset 0) rows`,
      );
  }
  for (const { name, value } of sequences)
    look(
      `select setval('${name}', ${value ?? 'min_value'}, ${value !== null})${value === null ? ` from (select 1::bigint as min_value) s` : ''}`,
    );
  look('commit');
  look('checkpoint');
};
