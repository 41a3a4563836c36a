/** What the region answers its operator about rollouts. */
import { sql } from 'kysely';
import type { CallContext, Handlers } from '#base/rpc/contract.ts';
import { parseIdentity } from '#contracts/identity.ts';
import type { rolloutContract } from '#contracts/rollout.ts';
import type { HealthCheck } from '#contracts/rollout-policy.ts';
import type { Database } from '../schema.ts';
import type { RolloutEngine } from './engine.ts';
import type { Fleet } from './fleet.ts';
import { createPolicy, listPolicies } from './policies.ts';
import { ask } from './requests.ts';
import { startRollout } from './start.ts';
import {
  listAudit,
  listRollouts,
  listVersions,
  showRollout,
  transitionView,
  unknownRollout,
} from './views.ts';

export interface RolloutServices {
  readonly db: Database;
  readonly fleet: Fleet;
  readonly engine: Pick<RolloutEngine, 'hint'>;
  readonly measures: ReadonlySet<HealthCheck>;
  now(): number;
  /** What a change would do to a device's kernel; empty where it does not say. */
  preview?(deviceId: string, started: Awaited<ReturnType<typeof startRollout>>): Promise<readonly string[]>;
}

const previewedMax = 4;

/** `alice` of `spiffe://pando/operator/-/alice`. */
const nameOf = (peer: string): string => parseIdentity(peer)?.name ?? peer;

/** `operator/alice`, as records of what was done name who did it. */
const whoOf = ({ peer }: CallContext): string => `operator/${nameOf(peer)}`;

export const rolloutHandlers = (services: RolloutServices): Required<Handlers<typeof rolloutContract>> => {
  const { db, fleet, engine, measures, now } = services;
  return {
    'operator.createPolicy': ({ name, spec }, context) =>
      createPolicy(db, { name, spec, createdBy: whoOf(context) }),
    'operator.policies': async ({ name }) => ({ policies: await listPolicies(db, name) }),
    'operator.startRollout': async (request, context) => {
      const started = await startRollout(
        { db, fleet, measures, now },
        { ...request, createdBy: whoOf(context) },
      );
      if (started.rolloutId !== undefined) engine.hint();
      const { rolloutId, policy, waves, transitions } = started;
      const first = (waves[0] ?? []).slice(0, previewedMax);
      const kernel = await Promise.all(
        first.map(async (deviceId) => ({
          deviceId,
          lines: [...((await services.preview?.(deviceId, started).catch(() => [])) ?? [])],
        })),
      );
      return {
        ...(rolloutId !== undefined && { rolloutId }),
        policy: { name: policy.name, version: policy.version },
        waves: waves.map((wave) => [...wave]),
        transitions: transitions.map(transitionView),
        kernel: kernel.filter(({ lines }) => lines.length > 0),
      };
    },
    'operator.objectVersions': async (object) => ({ versions: await listVersions(db, object) }),
    'operator.rollouts': async (request) => ({ rollouts: await listRollouts(db, request) }),
    'operator.rollout': ({ rolloutId }) => showRollout(db, rolloutId, now()),
    'operator.rolloutAudit': async (request) => ({ records: await listAudit(db, request) }),
    'operator.controlRollout': async ({ rolloutId, action }, context) => {
      const phaseNow = async () =>
        (await sql<{ phase: string }>`select phase from rollout where rollout_id = ${rolloutId}`.execute(db))
          .rows[0];
      if ((await phaseNow()) === undefined) throw unknownRollout(rolloutId);
      const who = whoOf(context);
      await ask(db, { rolloutId, action, who, names: [nameOf(context.peer), who] }, () => engine.hint());
      const { phase } = await showRollout(db, rolloutId, now());
      return { phase };
    },
  };
};
