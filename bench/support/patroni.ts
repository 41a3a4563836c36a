/** PostgreSQL with failover, on loopback, in a directory of its own: etcd, Patroni members and HAProxy of Debian's packages. */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, globSync, openSync, readdirSync, readFileSync, readlinkSync } from 'node:fs';
import { chmod, chown, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';

export const packages = ['patroni', 'etcd-server', 'haproxy', 'postgresql'] as const;
const needed = ['/usr/bin/patroni', '/usr/bin/etcd', '/usr/sbin/haproxy'];
const binariesGlob = '/usr/lib/postgresql/*/bin';
const memberCount = 3;
const readyTimeoutMs = 90_000;
const stopTimeoutMs = 10_000;
/** Seconds. A leader that is silent for `ttl` has lost its office: most of the gap that a failover costs. */
const timing = { ttl: 12, loop_wait: 2, retry_timeout: 5 } as const;

export interface Member {
  readonly name: string;
  readonly port: number;
  readonly restPort: number;
  readonly dataDir: string;
}

/** What is missing on this machine; undefined: nothing. */
export const missingPackages = (): string | undefined =>
  needed.every((path) => existsSync(path)) && globSync(binariesGlob).length > 0
    ? undefined
    : `apt-get install --no-install-recommends ${packages.join(' ')}`;

const freePort = async (): Promise<number> => {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const address = server.address();
  server.close();
  await once(server, 'close');
  if (typeof address !== 'object' || address === null) throw new Error('no free port');
  return address.port;
};

const idsOf = (user: string): { uid: number; gid: number } => {
  const line = readFileSync('/etc/passwd', 'utf8')
    .split('\n')
    .find((each) => each.startsWith(`${user}:`));
  const [, , uid, gid] = line?.split(':') ?? [];
  if (uid === undefined || gid === undefined) throw new Error(`there is no user ${user}`);
  return { uid: Number(uid), gid: Number(gid) };
};

export class Cluster {
  readonly members: readonly Member[];
  readonly proxyPort: number;
  readonly #dir: string;
  readonly #user: { uid: number; gid: number };
  readonly #children = new Map<string, ChildProcess>();

  private constructor(
    dir: string,
    user: { uid: number; gid: number },
    members: readonly Member[],
    proxyPort: number,
  ) {
    this.#dir = dir;
    this.#user = user;
    this.members = members;
    this.proxyPort = proxyPort;
  }

  /** Starts everything; resolves when there is a leader with a synchronous standby, and HAProxy leads to it. */
  static async start(): Promise<Cluster> {
    const user = idsOf('postgres');
    const dir = await mkdtemp(join(tmpdir(), 'pando-failover-'));
    await chmod(dir, 0o755);
    await chown(dir, user.uid, user.gid);
    const members: Member[] = [];
    for (let n = 1; n <= memberCount; n++) {
      const name = `pg${n}`;
      members.push({ name, port: await freePort(), restPort: await freePort(), dataDir: join(dir, name) });
    }
    const cluster = new Cluster(dir, user, members, await freePort());
    try {
      await cluster.#startAll();
    } catch (error) {
      await cluster.stop();
      throw error;
    }
    return cluster;
  }

  /** Through HAProxy, which asks each member's Patroni whether it leads. */
  get proxyUrl(): string {
    return `postgresql://postgres@127.0.0.1:${this.proxyPort}/postgres`;
  }

  /** All members: the client finds the one that takes writes. */
  get listUrl(): string {
    return `postgresql://postgres@${this.members.map(({ port }) => `127.0.0.1:${port}`).join(',')}/postgres`;
  }

  /** The member that leads now, as the members themselves say. */
  async leader(): Promise<Member | undefined> {
    for (const member of this.members) if (await this.#answers(member, 'primary')) return member;
    return undefined;
  }

  /** The death of a machine: Patroni, the server and all its processes at once, by SIGKILL. */
  kill(member: Member): void {
    const pids = processesBelow(member.dataDir);
    this.#children.get(member.name)?.kill('SIGKILL');
    for (const pid of pids) signal(pid, 'SIGKILL');
    this.#children.delete(member.name);
  }

  /** A member that died comes back as a standby. */
  async revive(member: Member): Promise<void> {
    this.#startMember(member);
    await this.#until(`${member.name} follows`, () => this.#answers(member, 'replica'));
    await this.untilSynchronous();
  }

  async untilSynchronous(): Promise<void> {
    await this.#until('a synchronous standby', async () => {
      for (const member of this.members) if (await this.#answers(member, 'synchronous')) return true;
      return false;
    });
  }

  async stop(): Promise<void> {
    for (const child of this.#children.values()) child.kill('SIGTERM');
    const end = Date.now() + stopTimeoutMs;
    while (processesBelow(this.#dir).length > 0 && Date.now() < end) await delay(100);
    for (const pid of processesBelow(this.#dir)) signal(pid, 'SIGKILL');
    for (const child of this.#children.values()) child.kill('SIGKILL');
    await delay(200);
    await rm(this.#dir, { recursive: true, force: true });
  }

  async #startAll(): Promise<void> {
    const etcd = `http://127.0.0.1:${await freePort()}`;
    const peer = `http://127.0.0.1:${await freePort()}`;
    const etcdDir = join(this.#dir, 'etcd');
    this.#spawn('etcd', '/usr/bin/etcd', [
      ...[
        '--name',
        'one',
        '--data-dir',
        etcdDir,
        '--listen-client-urls',
        etcd,
        '--advertise-client-urls',
        etcd,
      ],
      ...[
        '--listen-peer-urls',
        peer,
        '--initial-advertise-peer-urls',
        peer,
        '--initial-cluster',
        `one=${peer}`,
      ],
    ]);
    await this.#until('etcd', () => fetched(`${etcd}/health`));
    for (const member of this.members) {
      await writeFile(join(this.#dir, `${member.name}.yml`), JSON.stringify(this.#patroni(member, etcd)));
      this.#startMember(member);
    }
    await writeFile(join(this.#dir, 'haproxy.cfg'), this.#haproxy());
    this.#spawn('haproxy', '/usr/sbin/haproxy', ['-db', '-f', join(this.#dir, 'haproxy.cfg')]);
    await this.#until('a leader', async () => (await this.leader()) !== undefined);
    await this.untilSynchronous();
  }

  #startMember(member: Member): void {
    this.#spawn(member.name, '/usr/bin/patroni', [join(this.#dir, `${member.name}.yml`)]);
  }

  /** JSON is YAML. */
  #patroni(member: Member, etcd: string): object {
    const parameters = {
      max_connections: 100,
      shared_buffers: '32MB',
      synchronous_commit: 'on',
      wal_log_hints: 'on',
    };
    return {
      scope: 'pando',
      name: member.name,
      restapi: { listen: `127.0.0.1:${member.restPort}`, connect_address: `127.0.0.1:${member.restPort}` },
      etcd3: { host: etcd.replace('http://', '') },
      bootstrap: {
        dcs: { ...timing, synchronous_mode: true, postgresql: { use_pg_rewind: true, parameters } },
        initdb: [{ encoding: 'UTF8' }, { locale: 'C.UTF-8' }, 'data-checksums'],
      },
      postgresql: {
        listen: `127.0.0.1:${member.port}`,
        connect_address: `127.0.0.1:${member.port}`,
        data_dir: member.dataDir,
        bin_dir: globSync(binariesGlob).sort().at(-1),
        pgpass: join(this.#dir, `${member.name}.pgpass`),
        parameters: { unix_socket_directories: this.#dir },
        authentication: { superuser: { username: 'postgres' }, replication: { username: 'replicator' } },
        pg_hba: [
          'local all all trust',
          'host all all 127.0.0.1/32 trust',
          'host replication all 127.0.0.1/32 trust',
        ],
      },
    };
  }

  #haproxy(): string {
    const servers = this.members.map(
      ({ name, port, restPort }) =>
        `  server ${name} 127.0.0.1:${port} check port ${restPort} inter 1s fall 2 rise 1 on-marked-down shutdown-sessions`,
    );
    return [
      'defaults',
      ...[
        '  mode tcp',
        '  timeout connect 3s',
        '  timeout client 1h',
        '  timeout server 1h',
        '  timeout check 2s',
      ],
      'listen leader',
      ...[
        `  bind 127.0.0.1:${this.proxyPort}`,
        '  option httpchk OPTIONS /primary',
        '  http-check expect status 200',
      ],
      ...servers,
      '',
    ].join('\n');
  }

  async #answers(member: Member, role: 'primary' | 'replica' | 'synchronous'): Promise<boolean> {
    return fetched(`http://127.0.0.1:${member.restPort}/${role}`);
  }

  #spawn(name: string, command: string, args: readonly string[]): void {
    const log = openSync(join(this.#dir, `${name}.log`), 'a');
    const { uid, gid } = this.#user;
    const child = spawn(
      'setpriv',
      [`--reuid=${uid}`, `--regid=${gid}`, '--clear-groups', '--pdeathsig', 'KILL', '--', command, ...args],
      {
        stdio: ['ignore', log, log],
        cwd: this.#dir,
        env: { PATH: process.env.PATH, LC_ALL: 'C.UTF-8', HOME: this.#dir },
      },
    );
    this.#children.set(name, child);
  }

  async #until(what: string, condition: () => Promise<boolean>): Promise<void> {
    const end = Date.now() + readyTimeoutMs;
    while (!(await condition())) {
      if (Date.now() > end) throw new Error(`${what}: not within ${readyTimeoutMs} ms; ${this.#logTails()}`);
      await delay(200);
    }
  }

  #logTails(): string {
    return [...this.#children.keys()]
      .map((name) => `${name}: ${readFileSync(join(this.#dir, `${name}.log`), 'utf8').slice(-600)}`)
      .join('\n');
  }
}

const fetched = (url: string): Promise<boolean> =>
  fetch(url, { signal: AbortSignal.timeout(1_000) }).then(
    async (response) => {
      await response.body?.cancel();
      return response.ok;
    },
    () => false,
  );

/** Processes that work in a directory or below it, or were started with a file of it. */
const processesBelow = (dir: string): number[] =>
  readdirSync('/proc').flatMap((name) => {
    if (!/^\d+$/.test(name)) return [];
    try {
      const cwd = readlinkSync(`/proc/${name}/cwd`);
      return cwd === dir || cwd.startsWith(`${dir}/`) ? [Number(name)] : [];
    } catch {
      return [];
    }
  });

const signal = (pid: number, name: NodeJS.Signals): void => {
  try {
    process.kill(pid, name);
  } catch {
    // It has ended by itself.
  }
};
