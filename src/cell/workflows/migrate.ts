/**
 * Live migration (S6). The instance runs throughout; the workflow owns it.
 *
 * requested → ensureImage → prepareNetwork → launchIncoming → startCopy → converge → lock → critical → placeInterface → clearSource
 *                       (any failure or cancellation up to here: undo, the source runs on) ┘    (from here: only forward)
 */
import { PandoError } from '#contracts/errors.ts';
import type { MigrationCredential } from '#contracts/host.ts';
import type { VpcPort } from '#contracts/network.ts';
import { convergePollMs, convergeTimeoutMsMax } from '../limits.ts';
import type { CellServices } from '../services.ts';
import { claimIdOf, flipClaims, releaseClaim } from '../store/claims.ts';
import { changeInstance, lockInstances } from '../store/instances.ts';
import type { Sql } from '../store/sql.ts';
import { defineWorkflow, type StepContext } from '../workflow/definition.ts';
import { type CriticalResult, type MigrateInput, runCritical } from './critical.ts';
import { keepConsoleOf } from './steps/console.ts';
import { need } from './steps/inputs.ts';
import { type DestroyOutcome, destroyOrLeave, destroyRetry } from './steps/leave-host.ts';
import {
  interfaceOf,
  type NetworkResults,
  placeInterface,
  prepareNetwork,
  regionRetry,
} from './steps/network.ts';
import { leftToNewer } from './steps/overtaken.ts';
import { settle } from './steps/settle.ts';
import { ensureImageStep, launchRetry, launchVm } from './steps/vmm.ts';

interface MigrateResults {
  findInterface: { readonly vpcId: string; readonly port: VpcPort };
  ensureImage: { readonly fetched: boolean };
  prepareNetwork: NetworkResults;
  'prepareNetwork.undo'?: DestroyOutcome;
  launchIncoming: {
    readonly memoryUri: string;
    readonly diskUri: string;
    readonly peer?: MigrationCredential | undefined;
  };
  startCopy: null;
  converge: { readonly copyMs: number; readonly totalBytes: number };
  lock: null;
  critical: CriticalResult;
  placeInterface: { readonly unreachable: readonly string[] };
  clearSource: DestroyOutcome;
}

type Context = StepContext<MigrateInput, MigrateResults, CellServices>;

const converge = async ({
  services,
  input,
  subject,
  command,
  signal,
  cancelled,
}: Context): Promise<MigrateResults['converge']> => {
  const { hosts, clock } = services;
  const began = clock.monotonicMs();
  for (;;) {
    const progress = await hosts.call(input.sourceHostId, 'migrate.progress', {
      command,
      instanceId: subject,
    });
    if (progress.phase === 'converged' || progress.phase === 'completed')
      return { copyMs: clock.monotonicMs() - began, totalBytes: progress.totalBytes };
    if (progress.phase === 'failed' || progress.phase === 'none')
      throw new PandoError('Cancelled', `The copy failed: ${progress.reason ?? progress.phase}`);
    if (cancelled() || signal.aborted) throw new PandoError('Cancelled', 'The migration was cancelled.');
    if (clock.monotonicMs() - began > convergeTimeoutMsMax)
      throw new PandoError('Cancelled', `The copy did not converge in ${convergeTimeoutMsMax} ms.`);
    await clock.sleep(convergePollMs, signal);
  }
};

/** The other host has nothing of the instance any more, unless its VM could not be destroyed yet. */
const leaveOther = async (tx: Sql, subject: string, outcome: DestroyOutcome | undefined): Promise<void> => {
  if (outcome?.destroyed === false) return;
  const [row] = await lockInstances(tx, undefined, [subject]);
  if (row !== undefined) await releaseClaim(tx, claimIdOf('migration', subject));
};

const eniOf = (context: Context): string => need(context.results.findInterface, 'findInterface').port.eniId;

export const migrateWorkflow = defineWorkflow<MigrateInput, MigrateResults, CellServices>({
  kind: 'migrate',
  steps: [
    {
      name: 'findInterface',
      why: 'the target’s card needs it as it is now',
      retry: regionRetry,
      do: interfaceOf,
      undo: { none: 'it reads' },
    },
    {
      ...ensureImageStep,
      why: 'the target’s disk is an overlay of the image',
    },
    {
      name: 'prepareNetwork',
      why: 'the target’s port is attached and receives nothing yet',
      do: (context) =>
        prepareNetwork(context, context.input, need(context.results.findInterface, 'findInterface'), false),
      undo: (context) => destroyOrLeave(context, context.input.hostId),
    },
    {
      name: 'launchIncoming',
      why: 'the VMM that waits for the guest',
      retry: launchRetry,
      do: async (context) => {
        const network = need(context.results.prepareNetwork, 'prepareNetwork');
        const { services, input, command, subject } = context;
        // The two VMMs trust each other by what their own agents vouch for.
        const { peer } = await services.hosts.call(input.sourceHostId, 'migrate.offer', {
          command: { ...command, step: 'launchIncoming.offer' },
          instanceId: subject,
        });
        const { migration } = await launchVm(context, input.hostId, network, true, { peer });
        return need(migration, 'vm.launch incoming');
      },
      undo: { none: 'undoing prepareNetwork destroys the target whole' },
    },
    {
      name: 'startCopy',
      why: 'memory and disk are copied while the source runs (S6.2)',
      do: async ({ services, input, command, subject, results }) => {
        const listeners = need(results.launchIncoming, 'launchIncoming');
        await services.hosts.call(input.sourceHostId, 'migrate.start', {
          command,
          instanceId: subject,
          ...listeners,
        });
        return null;
      },
      undo: (context) => {
        const { services, input, command, subject } = context;
        const cancel = { command, instanceId: subject };
        return leftToNewer(context, services.hosts.call(input.sourceHostId, 'migrate.cancel', cancel));
      },
    },
    {
      name: 'converge',
      why: 'the switch begins only when what is left fits its budget',
      retry: { deadlineMs: convergeTimeoutMsMax + 10_000 },
      do: converge,
      undo: { none: 'it only watches' },
    },
    {
      name: 'lock',
      why: 'from here on changing calls wait for the outcome (S6.3)',
      do: async () => null,
      commit: async (tx, { subject }) => {
        await changeInstance(tx, subject, { locked: true });
      },
      undo: { none: 'the workflow’s end unlocks' },
    },
    {
      name: 'critical',
      why: 'the guest changes hosts; no packet is lost (S7)',
      noReturn: true,
      // Never given up on the way: it either takes itself back (TakenBack) or goes on to the end.
      onFailure: 'retry',
      retry: { deadlineMs: 2 ** 31 - 1 },
      staysInMemory: true,
      do: (context) => runCritical(context, eniOf(context)),
      // The flip of the record is one transaction with the step's result: a survivor sees both or neither.
      commit: async (tx, { subject, input }) => {
        await lockInstances(tx, undefined, [subject]);
        await flipClaims(tx, subject, { target: input.hostId, source: input.sourceHostId });
        await changeInstance(tx, subject, { host_id: input.hostId });
      },
      undo: { none: 'it fails only when it has taken itself back' },
    },
    {
      name: 'placeInterface',
      why: 'every other card sends straight to the new place',
      onFailure: 'retry',
      do: (context) => placeInterface(context, eniOf(context), context.input.vtep, context.input.epoch),
      undo: { none: 'the guest runs on the target: only forward' },
    },
    {
      name: 'clearSource',
      why: 'nothing of it is left there, except that the card forwards what still comes (S6.6)',
      onFailure: 'retry',
      retry: destroyRetry,
      do: async (context) => {
        const { services, input, command, subject } = context;
        await keepConsoleOf(context, input.sourceHostId);
        const port = { eniId: eniOf(context), forwardTo: input.vtep };
        await services.hosts
          .card(input.sourceHostId, 'card.detachPort', port, { command, instanceId: subject })
          .catch(() => undefined);
        return destroyOrLeave(context, input.sourceHostId);
      },
      undo: { none: 'the guest runs on the target: only forward' },
    },
  ],
  onDone: async (tx, context) => {
    await leaveOther(tx, context.subject, context.results.clearSource);
    return settle(tx, context, 'running');
  },
  onUndone: async (tx, context) => {
    await leaveOther(tx, context.subject, context.results['prepareNetwork.undo']);
    return settle(tx, context, 'running');
  },
});
