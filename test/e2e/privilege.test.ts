/** A region whose processes are each tried as a thief: what may the user of one read of the others? */
import assert from 'node:assert/strict';
import { X509Certificate } from 'node:crypto';
import { readdirSync, readFileSync, statSync } from 'node:fs';
import { connect } from 'node:net';
import { dirname, join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { exec } from '#base/exec.ts';
import { agentCapabilities, cardCapabilities } from '#node/capabilities.ts';
import { confined } from '#node/confine.ts';
import { codeDirectory } from '#node/directory.ts';
import { type NodeSpec, type ProcessSpec, processList } from '#node/processSpec.ts';
import type { User } from '#node/users.ts';
import { processesOf } from './support/processes.ts';
import { startRegion, type TestRegion } from './support/region.ts';

describe('least privilege', () => {
  let region: TestRegion;
  before(async () => {
    region = await startRegion({ cells: 2, hostsPerCell: 1 });
  });
  after(() => region[Symbol.asyncDispose]());

  const specs = (): ProcessSpec[] =>
    processList.parse(JSON.parse(readFileSync(region.directory.processList, 'utf8'))).processes;
  const statusOf = (pid: number) => {
    const text = readFileSync(`/proc/${pid}/status`, 'utf8');
    return (name: string): string => new RegExp(`^${name}:[ \\t]*(.*)$`, 'm').exec(text)?.[1] ?? '';
  };

  /** What each process needs for itself: its configuration, its certificate, its store's socket. */
  const own = (spec: ProcessSpec): string[] => {
    if (spec.kind === 'postgres')
      return [join(spec.dataDir, 'PG_VERSION'), join(spec.socketDir, '.s.PGSQL.5432')];
    const { tls } = spec.config as { tls?: { key: string } };
    return [spec.configPath, ...(tls === undefined ? [] : [tls.key]), ...(spec.owns ?? [])];
  };
  /** Which of these paths that user can read (a directory: list; a socket: reach). */
  const readable = async ({ uid, gid }: User, paths: readonly string[]): Promise<string[]> => {
    const script = 'for path; do [ -r "$path" ] && echo "$path"; done; true';
    const ids = ['--reuid', String(uid), '--regid', String(gid), '--clear-groups', '--bounding-set=-all'];
    const { stdout } = await exec('setpriv', [...ids, '--', 'sh', '-c', script, 'sh', ...paths]);
    return stdout.split('\n').filter((line) => line !== '');
  };

  it('gives each process of the control plane a user of its own, and no capability', async () => {
    const running = await processesOf(region.directory);
    const confinedKinds = ['router', 'region', 'cell', 'ca', 'webhooks', 'postgres'];
    const seen = new Map<string, string>();
    for (const { name, kind, pid } of running.filter((each) => confinedKinds.includes(each.kind))) {
      const field = statusOf(pid);
      const [uid = '0'] = field('Uid').split('\t');
      assert.ok(Number(uid) > 1_000_000_000, `${name} runs as ${uid}`);
      assert.equal(seen.get(uid), undefined, `${name} and ${seen.get(uid)} are one user`);
      seen.set(uid, name);
      assert.equal(field('NoNewPrivs'), '1', name);
      for (const set of ['CapPrm', 'CapEff', 'CapBnd', 'CapAmb'])
        assert.equal(Number(`0x${field(set)}`), 0, name);
      assert.ok(confinedKinds.includes(kind));
    }
    // router, region, ca, webhook sender, three stores, two processors of each of two cells.
    assert.equal(seen.size, 11);
  });

  it('leaves root’s processes only the capabilities that are listed', async () => {
    for (const { name, kind, pid } of await processesOf(region.directory)) {
      if (kind !== 'agent' && kind !== 'card' && kind !== 'gateway') continue;
      const wanted = Object.keys(kind === 'agent' ? agentCapabilities : cardCapabilities).length;
      const field = statusOf(pid);
      for (const set of ['CapBnd', 'CapEff'])
        assert.equal(
          BigInt(`0x${field(set)}`)
            .toString(2)
            .replaceAll('0', '').length,
          wanted,
          `${name} ${set}`,
        );
      assert.equal(field('NoNewPrivs'), '1', name);
    }
  });

  it('lets no process read what is another’s', async () => {
    const all = specs();
    const { root, pki, processList: list, runFile, keyFile, env } = region.directory;
    const everybodys = [
      join(pki, 'ca.key'),
      list,
      runFile,
      keyFile,
      env,
      join(root, 'log'),
      region.directory.controlSocket,
      ...['card-1', 'gateway', 'host-1/images'].map((name) => region.directory.state(name)),
    ];
    for (const spec of all) {
      if (spec.user === undefined) continue;
      const mine = own(spec);
      const store = `${dirname(dirname(region.directory.postgres('region').socketDir))}/sockets`;
      const others = all.filter((each) => each.name !== spec.name).flatMap(own);
      const found = await readable(spec.user, [...mine, ...others, ...everybodys]);
      const expected = new Set(mine);
      // A processor reaches its cell's store, the region its own: the socket, not the data.
      const reached = found.filter((path) => !expected.has(path));
      const sockets = reached.filter((path) => path.startsWith(store));
      assert.deepEqual(
        reached.filter((path) => !path.startsWith(store)),
        [],
        spec.name,
      );
      const database = (spec as NodeSpec).config as { databaseUrl?: string } | undefined;
      for (const path of sockets)
        assert.ok(
          database?.databaseUrl?.includes(encodeURIComponent(dirname(path))),
          `${spec.name}: ${path}`,
        );
      assert.deepEqual(
        mine.filter((path) => !found.includes(path)),
        [],
        `${spec.name} can read what is its own`,
      );
    }
  });

  it('keeps no secret where everybody may read', () => {
    const open: string[] = [];
    const look = (directory: string): void => {
      for (const entry of readdirSync(directory, { withFileTypes: true })) {
        const path = join(directory, entry.name);
        if (entry.isDirectory()) look(path);
        else if (entry.isFile() && (statSync(path).mode & 0o077) !== 0) open.push(path);
      }
    };
    for (const directory of [region.directory.pki, region.directory.run, join(region.directory.root, 'keys')])
      look(directory);
    const text = (path: string): string => readFileSync(path, 'utf8');
    assert.deepEqual(
      open.filter((path) => /PRIVATE KEY|secret|password/i.test(text(path))),
      [],
    );
  });

  it('renews the certificate of the process that asks, for the process that asks', async () => {
    const { code, socket } = { code: join(codeDirectory, 'src', 'base'), socket: region.directory.caSocket };
    const program = `
      import { askAnew } from '${code}/certificateRequest.ts';
      import { askAuthority } from '${code}/renewal.ts';
      import { readTls } from '${code}/tlsFromFiles.ts';
      const pair = process.argv[1];
      const { asked } = await askAnew(readTls({ ca: process.argv[2], cert: pair, key: pair }));
      console.log(await askAuthority('${socket}', asked));`;
    const as = (name: string, pair: string) => {
      const found = specs().find((each) => each.name === name)?.user;
      assert.ok(found !== undefined);
      const node = [
        process.execPath,
        '--disable-warning=ExperimentalWarning',
        '--input-type=module',
        '-e',
        program,
      ];
      // As the process itself is run: the code may lie in a home that is closed to others.
      const all = [...node, pair, join(region.directory.pki, 'ca.crt')];
      const [command = '', ...args] = confined({ user: found, reaches: [region.directory.root] }, all);
      return exec(command, args, { cwd: codeDirectory });
    };
    const pairOf = (directory: string): string => join(region.directory.pki, directory, 'pair.pem');
    const { stdout } = await as('router', pairOf('router-router'));
    assert.match(new X509Certificate(stdout).subjectAltName ?? '', /\/router\/.*router$/);
    await assert.rejects(as('router', pairOf('region-region')), /EACCES/);
  });

  it('answers nobody on the supervisor’s socket but root', async () => {
    const router = specs().find(({ name }) => name === 'router');
    assert.ok(router?.user !== undefined);
    const { uid, gid } = router.user;
    const program = `require('node:net').connect('${region.directory.controlSocket}').on('connect', () => process.exit(0)).on('error', (e) => { console.log(e.code); process.exit(1); });`;
    const ids = ['--reuid', String(uid), '--regid', String(gid), '--clear-groups'];
    const { stdout } = await exec('setpriv', [...ids, process.execPath, '-e', program], { allow: [1] });
    assert.match(stdout, /EACCES/);
    await new Promise<void>((resolve, reject) =>
      connect(region.directory.controlSocket).once('connect', resolve).once('error', reject),
    );
  });

  it('runs a VM all the same', async () => {
    const network = await region.cloud.network('10.70.0.0/16', [22, 80]);
    const [machine] = await region.cloud.start({ network });
    assert.ok(machine);
    await region.cloud.terminate([machine.vm.instanceId]);
  });
});
