/** What the region answers its operator about rollouts. */
import { sql } from 'kysely';
import type { CallContext, Handlers } from '#base/rpc/contract.ts';
import { parseIdentity } from '#contracts/identity.ts';
import type { rolloutContract } from '#contracts/rollout.ts';
import type { HealthCheck } from '#contracts/rollout-policy.ts';
import type { Database } from '../schema.ts';
import type { RolloutEngine } from './engine.ts';
import type { Fleet } from './fleet.ts';
import { createPolicy, pageOfPolicies } from './policies.ts';
import { diffOfRollout, previewKernel } from './preview.ts';
import { ask } from './requests.ts';
import { startRollout } from './start.ts';
import {
  listAudit,
  listRollouts,
  listVersions,
  showRollout,
  transitionView,
  unknownRollout,
  watchRollout,
} from './views.ts';

export interface RolloutServices {
  readonly db: Database;
  readonly fleet: Fleet;
  readonly engine: Pick<RolloutEngine, 'hint'>;
  readonly measures: ReadonlySet<HealthCheck>;
  now(): number;
}

/** `deploy` of `spiffe://pando/operator/-/deploy`. */
const nameOf = (peer: string): string => parseIdentity(peer)?.name ?? peer;

/** `operator/NAME`, as records of what was done name who did it. */
const whoOf = ({ peer }: CallContext): string => `operator/${nameOf(peer)}`;

export const rolloutHandlers = (services: RolloutServices): Required<Handlers<typeof rolloutContract>> => {
  const { db, fleet, engine, measures, now } = services;
  return {
    'operator.createPolicy': (policy, context) => createPolicy(db, { ...policy, createdBy: whoOf(context) }),
    'operator.policies': (page) => pageOfPolicies(db, page),
    'operator.startRollout': async (request, context) => {
      const started = await startRollout(
        { db, fleet, measures, now },
        { ...request, createdBy: whoOf(context) },
      );
      if (started.rolloutId !== undefined) engine.hint();
      const { rolloutId, policy, waves, transitions } = started;
      const kernel = request.dryRun ? await previewKernel(fleet, waves.flat(), transitions) : undefined;
      return {
        ...(rolloutId !== undefined && { rolloutId }),
        policy: { name: policy.name, version: policy.version },
        waves: waves.map((wave) => [...wave]),
        transitions: transitions.map(transitionView),
        ...(kernel !== undefined && { kernel }),
      };
    },
    'operator.rolloutDiff': (request) => diffOfRollout(db, fleet, request),
    'operator.objectVersions': async (object) => ({ versions: await listVersions(db, object) }),
    'operator.rollouts': (request) => listRollouts(db, request),
    'operator.rollout': (request) => watchRollout(db, request, now),
    'operator.rolloutAudit': (request) => listAudit(db, request),
    'operator.controlRollout': async ({ rolloutId, action, clientToken }, context) => {
      const phaseNow = async () =>
        (await sql<{ phase: string }>`select phase from rollout where rollout_id = ${rolloutId}`.execute(db))
          .rows[0];
      if ((await phaseNow()) === undefined) throw unknownRollout(rolloutId);
      const who = whoOf(context);
      const names = [nameOf(context.peer), who];
      await ask(db, { rolloutId, action, who, names, clientToken }, () => engine.hint());
      const { phase } = await showRollout(db, rolloutId, now());
      return { phase };
    },
  };
};
