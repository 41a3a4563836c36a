/** Named limits of a request processor. */
export const leaseTtlMs = 3_000;
export const leaseRenewEveryMs = 1_000;
export const takeoverBatchMax = 200;
export const concurrentWorkflowsMax = 256;
export const queuedWorkflowsMax = 50_000;
/** A host that has reported to no processor for this long takes no new instances. */
export const hostSilenceMsMax = 6_000;
export const reportEveryMs = 1_000;
export const heardFlushEveryMs = 1_000;
/** Even an unchanged report is compared with the store this often. */
export const reconcileEveryMs = 30_000;
export const instancesPerRequestMax = 100;
export const userDataBytesMax = 16 * 1024;
export const clientTokenCharsMax = 64;
export const tagsPerResourceMax = 50;
export const consoleBytesMax = 64 * 1024;
/** A terminated instance stays visible for an hour. */
export const terminatedVisibleMs = 3_600_000;
export const clientTokenKeptMs = 24 * 3_600_000;
export const housekeepingEveryMs = 60_000;
export const stopGraceMs = 30_000;
/** How long RunInstances waits for the interface's address before it answers without one. */
export const interfaceWaitMsMax = 400;
/** A device that did not take a VPC's state in this time is reported unreachable and is told again later. */
export const vpcPushTimeoutMs = 5_000;
/** How long an absent host holds up a termination before the reconciler is left to finish it. */
export const absentHostPatienceMs = 20_000;
/** Peers wait that long at most before a switch is taken back. */
export const switchBudgetMs = 1_500;
export const convergeTimeoutMsMax = 15 * 60_000;
export const convergePollMs = 20;
