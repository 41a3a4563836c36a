/**
 * A host is in exactly one cell (S3.2), and moves by drain, then re-home. Its pin, on its own disk, is the truth: it is changed under a
 * generation once the host says itself that it has no VM. What this cell keeps follows: the intent before the host is told, so that a
 * host which says that it is there has gone, also where its answer was lost; the release after it.
 */
import type { ParsedParams, Result } from '#base/rpc/contract.ts';
import type { cellOperatorContract } from '#contracts/cell-operator.ts';
import { PandoError } from '#contracts/errors.ts';
import type { hostEventsContract } from '#contracts/host.ts';
import type { CellServices } from '../services.ts';
import {
  findEntry,
  findHome,
  findReleased,
  lockHome,
  releaseHost,
  setLeaving,
  welcomeBack,
} from '../store/homes.ts';
import { whatLiesThere } from '../store/rebuilds.ts';

type Contract = typeof cellOperatorContract;
type Names = 'operator.rehomeHost';
export type HomeOperations = {
  readonly [M in Names]: (params: ParsedParams<Contract, M>) => Promise<Result<Contract, M>>;
};
type Hello = ParsedParams<typeof hostEventsContract, 'host.hello'>;
type Services = Pick<CellServices, 'db' | 'identity' | 'log'>;

const rehomeTimeoutMs = 10_000;

/**
 * Whether the host may join: by its pin, and by what this cell remembers of having given away. Answers whether there is room for it.
 *
 * @throws Conflict
 */
export const checkHome = async (
  services: Services & Pick<CellServices, 'limits'>,
  { hostId, pinnedTo }: Hello,
): Promise<boolean> => {
  const { db, identity, limits } = services;
  const otherRegion =
    pinnedTo?.region !== undefined && identity.region !== '' && pinnedTo.region !== identity.region;
  // Before anything is written down of it: to this cell its VMs would be strangers.
  if (pinnedTo !== undefined && (pinnedTo.cellId !== identity.cellId || otherRegion)) {
    await noteGone(services, hostId, pinnedTo);
    throw refuse(services, hostId, [pinnedTo.cellId, pinnedTo.region]);
  }
  const generation = pinnedTo?.generation ?? 1;
  const { released, room } = await findEntry(db, hostId, limits.hosts);
  // A copy of its disk as it was, or a second host of that name: the true one is the other cell's.
  if (released !== undefined && generation <= released.generation)
    throw refuse(services, hostId, [released.to_cell]);
  if (released !== undefined) await welcomeBack(db, hostId, generation);
  return room;
};

const refuse = (
  { identity, log }: Services,
  hostId: string,
  owner: readonly (string | undefined)[],
): PandoError => {
  const whose = owner.filter((part) => part !== undefined).join(' of ');
  log.error({ host: hostId, whose }, 'ALARM: a host of another cell has dialled this one: refused');
  return new PandoError('Conflict', `Host ${hostId} belongs to ${whose}, this is ${identity.cellId}.`);
};

/** Its own word that it has gone where it was sent: the release is made up for. */
const noteGone = async (
  { db, log }: Services,
  hostId: string,
  pinnedTo: NonNullable<Hello['pinnedTo']>,
): Promise<void> => {
  await db.transaction(async (tx) => {
    const home = await lockHome(tx, hostId);
    if (home?.leaving_to !== pinnedTo.cellId || home.leaving_generation !== pinnedTo.generation) return;
    await releaseHost(tx, {
      host_id: hostId,
      to_cell: home.leaving_to,
      generation: home.leaving_generation,
    });
    log.warn({ host: hostId, to: pinnedTo.cellId }, 'the host has gone to its new cell');
  });
};

export const homeOperations = (services: CellServices): HomeOperations => {
  const { db, identity, hosts, capacity } = services;
  return {
    'operator.rehomeHost': async ({ hostId, to }) => {
      const done = (generation: number) => ({ hostId, cellId: to.cellId, generation });
      const released = await findReleased(db, hostId);
      if (released?.to_cell === to.cellId && (await findHome(db, hostId)) === undefined)
        return done(released.generation);
      if (to.cellId === identity.cellId)
        throw new PandoError('InvalidParameterValue', `${hostId} is of ${to.cellId} already.`);
      const generation = await beginLeaving(services, hostId, to.cellId);
      const { region } = identity;
      const params = { to: { ...to, ...(region === '' ? {} : { region }) }, generation };
      await hosts
        .call(hostId, 'host.rehome', params, { timeoutMs: rehomeTimeoutMs })
        .catch((error: unknown) => stay(services, hostId, generation, error));
      await db.transaction(async (tx) => {
        const home = await lockHome(tx, hostId);
        // Its hello may have been quicker.
        if (home === undefined || home.leaving_generation !== generation) return;
        await releaseHost(tx, { host_id: hostId, to_cell: to.cellId, generation });
      });
      await capacity.refresh();
      return done(generation);
    },
  };
};

/** The intent, once nothing keeps the host here. @throws NotFound, IncorrectState */
const beginLeaving = (services: CellServices, hostId: string, toCell: string): Promise<number> =>
  services.db.transaction(async (tx) => {
    const home = await lockHome(tx, hostId);
    if (home === undefined) throw await noHostOfThisCell(tx, hostId);
    if (home.leaving_to !== null && home.leaving_to !== toCell)
      throw new PandoError('IncorrectState', `${hostId} is on its way to ${home.leaving_to}.`);
    if (home.state !== 'draining')
      throw new PandoError(
        'IncorrectState',
        `${hostId} may still be given VMs: drain it first (pando host drain).`,
      );
    if (home.rebuild_id !== null)
      throw new PandoError(
        'IncorrectState',
        `${hostId} is in the hands of ${home.rebuild_id}: pando host show tells how far that is.`,
      );
    const has = await whatLiesThere(tx, hostId);
    if (has.length > 0) throw new PandoError('IncorrectState', `${hostId} still has ${has.join(', ')}.`);
    const generation = home.leaving_generation ?? home.home_generation + 1;
    await setLeaving(tx, hostId, { cellId: toCell, generation });
    return generation;
  });

/** The host's own refusal means that its pin is as it was. No answer means nothing, and the intent stays. */
const stay = async (
  services: CellServices,
  hostId: string,
  generation: number,
  error: unknown,
): Promise<never> => {
  const { code } = PandoError.from(error);
  if (code === 'IncorrectState' || code === 'UnsupportedOperation')
    await services.db.transaction(async (tx) => {
      const home = await lockHome(tx, hostId);
      if (home?.leaving_generation === generation) await setLeaving(tx, hostId, undefined);
    });
  throw error;
};

/** A host that has gone is not unknown: whoever came second of two that moved it is told where it went. */
const noHostOfThisCell = async (
  db: Parameters<typeof findReleased>[0],
  hostId: string,
): Promise<PandoError> => {
  const released = await findReleased(db, hostId);
  return released === undefined
    ? new PandoError('NotFound', `${hostId} is not known in this cell.`)
    : new PandoError('IncorrectState', `${hostId} has gone to ${released.to_cell}.`);
};
