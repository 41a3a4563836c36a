/**
 * Hands a VMM what it proves itself with, and takes it back. The files lie in a directory of the jail that only root writes and only
 * the VMM's uid reads, for as long as it takes to read them.
 */
import { chown, readdir, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { currentTls, ownIdentity, parseIdentity } from '#base/identity.ts';
import { PandoError } from '#contracts/errors.ts';
import type { MigrationCredential } from '#contracts/host.ts';
import { jailTlsDir } from '../qemu-command.ts';
import { QmpError } from '../qmp.ts';
import type { Vm } from '../vm.ts';
import { checkCredential, commonName, makeCredential, type OwnCredential, type Side } from './credential.ts';
import { dhParameters } from './dh-params.ts';

const credentials = 'migrate-tls';
const permitted = 'migrate-peer';

const endpoint: Record<Side, 'client' | 'server'> = { source: 'client', target: 'server' };
const other: Record<Side, Side> = { source: 'target', target: 'source' };

/** What sources have offered, until their copy has started. In memory alone: a new agent's copy does not start, and is asked for anew. */
const offers = new WeakMap<Vm, { readonly workflowId: string; readonly own: OwnCredential }>();

/** What this VM's source will prove itself with. Repeated in one workflow: the same. */
export const offerCredential = async (vm: Vm, workflowId: string): Promise<MigrationCredential> => {
  const present = offers.get(vm);
  if (present?.workflowId === workflowId) return present.own.shown;
  const own = await makeCredential(vm.context.tls, vm.record.instanceId, 'source');
  offers.set(vm, { workflowId, own });
  return own.shown;
};

export const offeredCredential = (vm: Vm): OwnCredential => {
  const offer = offers.get(vm);
  if (offer === undefined)
    throw new PandoError(
      'IncorrectState',
      `${vm.record.instanceId}: this agent has offered no credential since it started.`,
    );
  return offer.own;
};

export const forgetOffer = (vm: Vm): void => void offers.delete(vm);

/** What the channels of a migration are to be given; nothing where this host sends in the clear. */
export interface Secured {
  /** Of an NBD client or server. */
  readonly disk: Readonly<Record<string, string>>;
}

/** The parameters of QEMU's migration; an empty text is none. */
const parameters = (tls: { creds: string; hostname: string; authz: string }): Record<string, string> => ({
  'tls-creds': tls.creds,
  'tls-hostname': tls.hostname,
  'tls-authz': tls.authz,
});

/** From here on this VM's VMM moves guests only with the VMM that the other side's agent vouches for. `AccessDenied`: it does not. */
export const secure = async (
  vm: Vm,
  side: Side,
  own: OwnCredential,
  peer: MigrationCredential,
): Promise<Secured> => {
  const { record, context, monitor } = vm;
  const { ca } = currentTls(context.tls);
  const cell = parseIdentity(ownIdentity(context.tls) ?? '')?.cell;
  checkCredential(ca, record.instanceId, other[side], peer, cell);
  await unsecure(vm);
  const role = endpoint[side];
  await withFiles(
    vm,
    {
      'ca-cert.pem': peer.certificate,
      [`${role}-cert.pem`]: own.cert,
      [`${role}-key.pem`]: own.key,
      ...(side === 'target' ? { 'dh-params.pem': dhParameters } : {}),
    },
    () =>
      monitor.execute('object-add', {
        ...{ 'qom-type': 'tls-creds-x509', id: credentials, dir: jailTlsDir },
        // The sanity check would want our own certificate to be of the authority that the other side is held to.
        ...{ endpoint: role, 'verify-peer': true, 'sanity-check': false },
      }),
  );
  const name = commonName(record.instanceId);
  if (side === 'source') {
    await setParameters(vm, { creds: credentials, hostname: name, authz: '' });
    return { disk: { 'tls-creds': credentials, 'tls-hostname': name } };
  }
  await monitor.execute('object-add', { 'qom-type': 'authz-simple', id: permitted, identity: `CN=${name}` });
  await setParameters(vm, { creds: credentials, hostname: '', authz: permitted });
  return { disk: { 'tls-creds': credentials, 'tls-authz': permitted } };
};

/** Takes everything back: the VMM has no key any more. Nothing given: nothing to do. */
export const unsecure = async (vm: Vm): Promise<void> => {
  await setParameters(vm, { creds: '', hostname: '', authz: '' });
  for (const id of [credentials, permitted])
    await vm.monitor.execute('object-del', { id }).catch((error: unknown) => {
      if (!(error instanceof QmpError)) throw error; // It has none.
    });
};

const setParameters = (vm: Vm, tls: Parameters<typeof parameters>[0]): Promise<unknown> =>
  vm.monitor.execute('migrate-set-parameters', parameters(tls));

const withFiles = async (
  { paths, record }: Vm,
  files: Readonly<Record<string, string>>,
  work: () => Promise<unknown>,
): Promise<void> => {
  try {
    for (const [name, text] of Object.entries(files)) {
      const path = join(paths.tls, name);
      await writeFile(path, text, { mode: 0o400 });
      await chown(path, record.uid, record.uid);
    }
    await work();
  } finally {
    for (const name of await readdir(paths.tls)) await rm(join(paths.tls, name), { force: true });
  }
};
