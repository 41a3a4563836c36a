/**
 * Prepared statements as the client sends them and reads their answers: what columns a statement answers with is asked for once a
 * connection. The server refuses to run one whose columns have changed since it was prepared ("cached plan must not change result type"),
 * so what it has said stays true as long as it answers at all. It need not describe them with each answer, nor we read that again.
 */
import pg from 'pg';

export const beginText = 'begin';
export const commitText = 'commit';

/** What goes in one message with a statement: its transaction's BEGIN before it, its COMMIT after it. */
export interface Joined {
  readonly begin: boolean;
  readonly commit: boolean;
}

export interface Statement {
  /** Under which it is prepared. */
  readonly name: string;
  readonly text: string;
  readonly values: unknown[];
}

export interface Answer {
  readonly command: string;
  /** null: the command has none to tell. */
  readonly rowCount: number | null;
  readonly rows: readonly unknown[];
}

type Answered = (error: Error | undefined, answer: Answer) => void;

interface Field {
  readonly name: string;
  readonly dataTypeID: number;
}

/** The client's class as it is, of which its types show a part: the client calls these with what the server answers. */
interface ClientQuery {
  submit(connection: pg.Connection): Error | null;
  handleRowDescription(message: { readonly fields: readonly Field[] }): void;
  handleDataRow(message: { readonly fields: readonly (string | null)[] }): void;
  handleCommandComplete(message: { readonly text: string }): void;
  handleReadyForQuery(): void;
  handleError(error: Error, connection: pg.Connection): void;
}
const ClientQuery = pg.Query as unknown as new (
  text: string,
  values: unknown[],
  answered: Answered,
) => ClientQuery;

/** What a statement answers with: how each column is read, and a row with all of its names. */
interface Columns {
  readonly names: readonly string[];
  readonly readers: readonly ((text: string) => unknown)[];
  readonly empty: Readonly<Record<string, unknown>>;
}

/** A connection on which some messages are left out or added, and what it has said of its statements. */
interface Line {
  readonly connection: pg.Connection;
  /** By the name of the statement. */
  readonly columns: Map<string, Columns>;
  describes: boolean;
  commits: boolean;
}

const lines = new WeakMap<pg.Connection, Line>();

const lineOf = (connection: pg.Connection): Line => {
  const known = lines.get(connection);
  if (known !== undefined) return known;
  let isExecuted = false;
  const describe: pg.Connection['describe'] = (what, more) => {
    if (line.describes) connection.describe(what, more);
  };
  const execute: pg.Connection['execute'] = (what, more) => {
    isExecuted = true;
    connection.execute(what, more);
  };
  const sync = (): void => {
    // A statement that could not be encoded is not followed by a COMMIT.
    if (isExecuted && line.commits) runPrepared(connection, commitText);
    isExecuted = false;
    connection.sync();
  };
  const outlet: pg.Connection = Object.create(connection, {
    describe: { value: describe },
    execute: { value: execute },
    sync: { value: sync },
  });
  const line: Line = { connection: outlet, columns: new Map(), describes: true, commits: false };
  lines.set(connection, line);
  return line;
};

/** BEGIN and COMMIT are prepared under their own text; the connection has run them once, so the server knows them. */
const runPrepared = (connection: pg.Connection, statement: string): void => {
  connection.bind({ statement, values: [] }, true);
  connection.execute({}, true);
};

/** `SELECT 3`, `INSERT 0 1`, `BEGIN`: the command, and how many rows it concerned. */
const commandOf = (tag: string): Pick<Answer, 'command' | 'rowCount'> => {
  const words = tag.split(' ');
  const count = Number(words.length > 1 ? words.at(-1) : Number.NaN);
  return { command: words[0] ?? '', rowCount: Number.isNaN(count) ? null : count };
};

class PreparedQuery extends ClientQuery {
  readonly name: string;
  readonly #joined: Joined;
  readonly #answered: Answered;
  readonly #client: pg.Client;
  readonly #rows: unknown[] = [];
  #line: Line | undefined;
  #columns: Columns | undefined;
  #commands = 0;
  #command = '';
  #isRolledBack = false;
  #unreadable: Error | undefined;

  constructor(client: pg.Client, { name, text, values }: Statement, joined: Joined, answered: Answered) {
    super(text, values, answered);
    this.name = name;
    this.#client = client;
    this.#joined = joined;
    this.#answered = answered;
  }

  override submit(connection: pg.Connection): Error | null {
    const line = lineOf(connection);
    this.#line = line;
    this.#columns = line.columns.get(this.name);
    if (this.#joined.begin) runPrepared(connection, beginText);
    line.describes = this.#columns === undefined;
    line.commits = this.#joined.commit;
    return super.submit(line.connection);
  }

  override handleRowDescription({ fields }: { readonly fields: readonly Field[] }): void {
    const columns = {
      names: fields.map(({ name }) => name),
      readers: fields.map(({ dataTypeID }) => this.#client.getTypeParser(dataTypeID, 'text')),
      empty: Object.fromEntries(fields.map(({ name }) => [name, null])),
    };
    this.#columns = columns;
    this.#line?.columns.set(this.name, columns);
  }

  override handleDataRow({ fields }: { readonly fields: readonly (string | null)[] }): void {
    if (this.#unreadable !== undefined) return;
    try {
      this.#rows.push(this.#rowOf(fields));
    } catch (error) {
      this.#unreadable = error instanceof Error ? error : new Error(String(error));
    }
  }

  #rowOf(fields: readonly (string | null)[]): Record<string, unknown> {
    const columns = this.#columns;
    if (columns?.names.length !== fields.length)
      throw new Error('a row has other columns than its statement');
    const row: Record<string, unknown> = { ...columns.empty };
    for (let at = 0; at < fields.length; at++) {
      const text = fields[at];
      const [name, read] = [columns.names[at], columns.readers[at]];
      if (typeof text === 'string' && name !== undefined && read !== undefined) row[name] = read(text);
    }
    return row;
  }

  /** Of the BEGIN, the statement and the COMMIT, as far as they were sent. */
  override handleCommandComplete({ text }: { readonly text: string }): void {
    const own = this.#joined.begin ? 1 : 0;
    if (this.#commands === own) this.#command = text;
    // The server answers so to a COMMIT of a transaction in which something has failed.
    else if (this.#commands > own && text === 'ROLLBACK') this.#isRolledBack = true;
    this.#commands++;
  }

  override handleReadyForQuery(): void {
    const answer = { ...commandOf(this.#command), rows: this.#rows };
    if (this.#unreadable !== undefined) this.#answered(this.#unreadable, answer);
    else if (this.#isRolledBack)
      this.#answered(
        new Error('the transaction was rolled back: a statement before its last one has failed'),
        answer,
      );
    else this.#end(answer);
  }

  #end(answer: Answer): void {
    // It was described, and has no columns.
    if (this.#columns === undefined)
      this.#line?.columns.set(this.name, { names: [], readers: [], empty: {} });
    this.#answered(undefined, answer);
  }
}

const alone: Joined = { begin: false, commit: false };

/** Runs a prepared statement with what is joined to it; resolves with its own answer. */
export const queryPrepared = (
  client: pg.Client,
  statement: Statement,
  joined: Joined = alone,
): Promise<Answer> =>
  new Promise((resolve, reject) => {
    const query = new PreparedQuery(client, statement, joined, (error, answer) => {
      if (error) reject(error);
      else resolve(answer);
    });
    client.query(query);
  });
