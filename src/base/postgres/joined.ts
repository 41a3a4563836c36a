/**
 * A statement that carries its transaction's BEGIN before it or its COMMIT after it: one message to the server, answered once. Until the
 * end of the message the server passes over whatever follows a failure, so a BEGIN that fails begins nothing and is followed by nothing,
 * and a COMMIT is not reached where the statement before it has failed.
 */
import pg from 'pg';

export const beginText = 'begin';
export const commitText = 'commit';

export interface Joined {
  readonly begin: boolean;
  readonly commit: boolean;
}

/** Both are prepared under their own text; the connection has run them once, so the server knows them. */
const run = (connection: pg.Connection, statement: string): void => {
  connection.bind({ statement, values: [] }, true);
  connection.execute({}, true);
};

/** The same connection, whose messages end with a COMMIT: but for that of a statement which could not be encoded. */
const committing = (connection: pg.Connection): pg.Connection => {
  let isExecuted = false;
  const execute: pg.Connection['execute'] = (config, more) => {
    isExecuted = true;
    connection.execute(config, more);
  };
  const sync = (): void => {
    if (isExecuted) run(connection, commitText);
    connection.sync();
  };
  return Object.create(connection, { execute: { value: execute }, sync: { value: sync } });
};

/** Made of its text, and named afterwards: the client copies a configuration in a way that costs more than all else it does here. */
const prepared = (
  { name, text, values }: Statement,
  answered: (error: Error | undefined, result: pg.QueryResult) => void,
): pg.Query => Object.assign(new pg.Query(text, values, answered), { name });

export interface Statement {
  /** Under which it is prepared. */
  readonly name: string;
  readonly text: string;
  readonly values: unknown[];
}

/** Runs a prepared statement. */
export const queryPrepared = (client: pg.Client, statement: Statement): Promise<pg.QueryResult> =>
  new Promise((resolve, reject) => {
    client.query(
      prepared(statement, (error, result) => {
        if (error) reject(error);
        else resolve(result);
      }),
    );
  });

/** Runs a prepared statement with what is joined to it; resolves with its own result. */
export const queryJoined = (
  client: pg.Client,
  statement: Statement,
  { begin, commit }: Joined,
): Promise<pg.QueryResult> =>
  new Promise((resolve, reject) => {
    const query = prepared(statement, (error, result) => {
      if (error) reject(error);
      // The server answers so to a COMMIT of a transaction in which something has failed.
      else if (commit && Array.isArray(result) && result.at(-1)?.command === 'ROLLBACK')
        reject(new Error('the transaction was rolled back: a statement before its last one has failed'));
      // Of several statements in one message there are several results.
      else resolve((Array.isArray(result) ? result.at(commit ? -2 : -1) : result) ?? result);
    });
    const submit = query.submit.bind(query);
    query.submit = (connection) => {
      if (begin) run(connection, beginText);
      return submit(commit ? committing(connection) : connection);
    };
    client.query(query);
  });
