/** Named limits of a request processor. */
import { wireLimits } from '#wire/limits.ts';

export const leaseTtlMs = 3_000;
export const leaseRenewEveryMs = 1_000;
export const takeoverBatchMax = 200;
/** A processor that has just begun takes over nobody's work until its hosts have dialled in, or this long. */
export const adoptionGraceMs = 15_000;
/** A host that was heard within this time before the processor began is one that it waits for, within the grace. */
export const adoptionHeardMs = 10 * 60_000;
export const concurrentWorkflowsMax = 256;
export const queuedWorkflowsMax = 50_000;
/** How often waiting workflows are looked at that are due; each turn is up to a quarter sooner or later, so that processors take turns. */
export const duePollMs = 1_000;
export const dueBatchMax = 100;
/** How long a failing step is tried again in memory; then its workflow is parked and frees its slot. */
export const retryInMemoryMs = 1_000;
/** A step that could still be undone waits this long for what is unreachable, and then fails. */
export const unreachableWaitMs = 5 * 60_000;
/** A step that could still be undone backs off this long before what is busy, and then fails. */
export const busyWaitMs = 60_000;
/** Pauses of a parked workflow that is tried again: doubled each time. */
export const parkMsMin = 1_000;
export const parkMsMax = 30_000;
/** A step that cannot be given up and fails for a fault is parked this many times in a row; then its workflow is stuck. */
export const faultParksMax = 6;
/** A transaction of a workflow that the store refuses for a fault is tried this often. */
export const commitTriesMax = 5;
/** Pauses between tries while the store is away: doubled each time. */
export const storeRetryMsMin = 100;
export const storeRetryMsMax = 5_000;
/** A workflow that has stood at one step for longer is told to an operator; a wait that was asked for does not count. */
export const workflowAlarmAfterMs = 15 * 60_000;
export const alarmEveryMs = 10_000;
export const alarmBatchMax = 50;
/** Signals of one workflow that it has not taken yet. */
export const pendingSignalsMax = 1_000;
export const signalPayloadBytesMax = 8 * 1024;
export const childrenPerStepMax = 1_000;
/** The longest wait that a step may ask for at once. */
export const waitMsMax = 366 * 24 * 3_600_000;
export const workflowsShownMax = 1_000;
/** A host that has reported to no processor for this long takes no new instances. */
export const hostSilenceMsMax = 6_000;
export const reportEveryMs = 1_000;
export const heardFlushEveryMs = 1_000;
/** A host whose run queue is that many times its processors, or with less of its memory available, is under pressure. */
export const loadPerProcessorMax = 2;
export const memoryAvailablePartMin = 0.03;
/**
 * Shares of a host's last seconds above which it is short of something: processors that its own host gives to others, quota of the groups
 * above its VMs, memory that somebody waits for, a disk that is busy and waited for, a network that is full.
 */
export const stealShareMax = 0.1;
export const throttledShareMax = 0.25;
export const memoryStallShareMax = 0.1;
export const diskBusyShareMax = 0.9;
export const ioStallShareMax = 0.3;
export const networkShareMax = 0.9;
/** Pressure counts once in this time for each host. */
export const pressureEveryMs = 60_000;
/** Even an unchanged report is compared with the store this often. */
export const reconcileEveryMs = 30_000;
/** How often an instance whose VM ended by itself is started again before it is left stopped; counted anew after the window. */
export const recoveryTriesMax = 3;
export const recoveryWindowMs = 3_600_000;
/** Between the first try and the second; doubled from there on. */
export const recoveryBackoffMs = 1_000;
/** How many VMs reconciliation removes or stops in a window by itself; above it nothing more, and an alarm. */
export const removalsPerHostMax = 60;
export const removalsPerCellMax = 120;
export const removalWindowMs = 60_000;
/** How long a guest that runs where it should be stopped has to power down. */
export const reconcileStopGraceMs = 5_000;
/** A guest that has not asked for its address or for metadata, nor answered ARP, for this long since its boot is impaired. */
export const guestConfiguresMsMax = 5 * 60_000;
/** Processors that use no time at all for this long though they run: even an idle guest has timers. */
export const processorsStalledMsMax = 2 * 60_000;
/** Resets by the guest itself, lately, that are a loop. */
export const resetsMax = 4;
/** How long after its start an instance's checks are shown as initializing, however soon it is well. */
export const initializingMsMin = 10_000;
/** A host, or its card, that is away for this long impairs the system checks of its instances: shorter is a restart. */
export const hostAwayMsMax = 20_000;
/** VMs whose use of processors, memory and network is kept, in samples of at least so long; how long a peak counts at least. */
export const usageVmsMax = 100_000;
export const usageSampleMs = 30_000;
export const usageKeptMs = 30 * 60_000;
/** Before a VM has been measured for this long, nothing is concluded from it; how many of one type are looked at. */
export const usageObservedMsMin = 10 * 60_000;
export const usageLookedAtMax = 200;
/** A smaller type carries what was measured if it has this many times as much. */
export const usageHeadroom = 1.25;
/** VMs of hosts whose judgement a processor remembers: as many as a cell has. */
export const judgedMax = 100_000;
export const instancesPerRequestMax = 100;
/** The same as base64, with line breaks and indentation to spare. */
export const userDataCharsMax = wireLimits.userDataBytesMax * 2;
export const clientTokenCharsMax = 64;
export const tagsPerResourceMax = 50;
export const consoleBytesMax = 64 * 1024;
/** A terminated instance stays visible for an hour. */
export const terminatedVisibleMs = 3_600_000;
export const clientTokenKeptMs = 24 * 3_600_000;
export const housekeepingEveryMs = 60_000;
/** Old rows that go in one statement: what is left goes with the next. */
export const purgeBatchMax = 20_000;
/** Instances that leave the lists in one statement: short, so that nobody waits for its locks. */
export const fadeBatchMax = 2_000;
/** Rounds in which a placement looks again, when the host that it waited for was filled meanwhile. */
export const placeRoundsMax = 8;
/** Hosts that one claim names, in order: the first that is free and has room gets it. */
export const candidatesMax = 8;
/** How often the view of the hosts' capacity is read anew; a placement that finds nothing reads it at once. */
export const capacityRefreshEveryMs = 1_000;
/** How often counters are compared with claims; how many claims that ran out are released in one turn. */
export const claimsCheckEveryMs = 60_000;
export const claimsSweepEveryMs = 1_000;
export const claimsSweepMax = 500;
/** Things that do not fit and are told in one check. */
export const misfitsToldMax = 100;
/** Placement groups whose strategy the region is asked for, and forgotten ones, in one turn. */
export const placementGroupsPerTurnMax = 100;
/** How much of all demand must have changed its type before slots follow. */
export const demandShiftMin = 0.05;
/** Hosts that are put anew under a changed demand in one turn. */
export const rescoreBatchMax = 2_000;
export const stopGraceMs = 30_000;
/** How long RunInstances waits for the interface's address before it answers without one. */
export const interfaceWaitMsMax = 400;
/** A device that did not take a VPC's state in this time is reported unreachable and is told again later. */
/** Tries of a launch on a card that forgets the VPC in between. */
export const declarationTriesMax = 3;
export const vpcPushTimeoutMs = 5_000;
/** How long an absent host delays a termination before the reconciler is left to finish it. */
export const absentHostPatienceMs = 20_000;
/** Peers wait that long at most before a switch is taken back. */
export const switchBudgetMs = 1_500;
export const convergeTimeoutMsMax = 15 * 60_000;
export const convergePollMs = 20;
/** How often instances are looked for whose metadata service is behind their rows, how many in a turn, and how many at a time. */
export const metadataEveryMs = 2_000;
export const metadataRefreshesPerTurnMax = 500;
export const metadataRefreshesAtOnceMax = 8;
/** Between two tries for an instance whose host cannot be told. */
/** Credentials last an hour: a region or a host may be away for forty minutes, and no guest is without. */
export const credentialsRenewedAfterMs = 20 * 60_000;
export const metadataRetryMsMin = 2_000;
export const metadataRetryMsMax = 60_000;
/** A reboot of an instance whose guest is just changing hosts, or starts again, looks again after this long, and for so long at most. */
export const rebootLookAgainMs = 250;
export const rebootPatienceMs = 120_000;
/** How often VMs are looked for that violate their group's constraint, and how many groups, hosts and VMs of a host in one turn. */
export const mendingEveryMs = 3_000;
export const mendingGroupsMax = 100;
export const mendingHostsMax = 20;
export const mendingVmsPerHostMax = 50;
/** A measured violation that no processor has seen for this long is over: one that has just begun has measured nothing yet. */
export const mendingForgottenMs = 120_000;
/** Migrations at a time that empty one host, and that empty hosts of the cell in all. */
export const drainsPerHostMax = 2;
export const drainsPerCellMax = 8;
/** How often a drain looks again, and how long it goes on before it is given up. */
export const drainLookAgainMs = 500;
export const drainPatienceMs = 60 * 60_000;
/**
 * How long a host that was emptied is kept from being cut off while other devices still send to it what is for VMs that have left: three
 * rounds of the region's reconciler. A device that cannot be told for longer does not hold the host for ever. How often it is looked, and
 * at how many VPCs at a time.
 */
export const mappingsPatienceMs = 15_000;
export const mappingsLookAgainMs = 250;
export const mappingsAtOnceMax = 8;
/**
 * How long a drain waits for VMs that may be moved in their accounts' event windows alone: in eight days every window has been open once.
 * Then it is given up, and an operator is told; of a pool that finds no donor for such windows as well.
 */
export const eventWindowPatienceMs = 8 * 24 * 3_600_000;
/**
 * EC2's limits of putting an event off: how far ahead its new start must be, and how near its start it is fixed. Its deadline lies so long
 * before the end of its drain's patience that what a customer chose comes to pass.
 */
export const eventStartAheadMsMin = 60 * 60_000;
export const eventStartFixedMs = 5 * 60_000;
export const eventDeadlineMarginMs = 24 * 3_600_000;
/** How often a drain that waits for windows looks again; how long a pool goes by what it heard of a host's. */
export const eventWindowLookAgainMs = 60_000;
export const eventWindowHeardMs = 30_000;
/** Donors whose windows are asked for in one turn of the pools; VMs of a host in one look. */
export const windowedDonorsMax = 16;
export const windowedVmsMax = 1_000;
/** Hosts of a cell that change at a time, and how long one is left alone after a change. */
export const rebuildsAtOnceMax = 2;
export const hostRestMs = 10 * 60_000;
/** VMs that ended without a known reason, of which a host's row tells. */
export const crashesKeptMax = 16;
/** How long one is left alone that was given back since it could not be emptied. */
export const hostGivenBackRestMs = 2 * 60_000;
/** How often pools are looked at. */
export const poolsEveryMs = 5_000;
/** How long waiting demand counts that nobody has told again. */
export const poolDemandMs = 60_000;
/** One step of a rebuild: diagnostics and overwriting take their time. */
export const rebuildStepTimeoutMs = 30 * 60_000;
/** How often a machine that is turned off and on is looked for, and how long it may take. */
export const powerCycleLookAgainMs = 2_000;
export const powerCycleMsMax = 30 * 60_000;
/** Capacity reservations and dedicated hosts that an account may have in a cell; instances of one reservation; hosts of one request. */
export const reservationsMax = 100;
export const reservedInstancesMax = 1_000;
export const dedicatedHostsMax = 20;
/** Disk that a reserved slot keeps; an instance with a bigger one finds the rest where it can. */
export const reservedDiskGib = 8;
export const reservationsEveryMs = 2_000;
export const reservationsPerTurnMax = 100;
/** Ended reservations and released hosts stay visible for an hour. */
export const reservationsKeptMs = 3_600_000;
/** How often waiting requests for capacity are looked at without an event; what ran out ends then too. */
export const capacityQueueEveryMs = 1_000;
/** Requests of one class that one look reads: more than it can serve. */
export const waitingPerClassMax = 32;
export const waitingClassesMax = 256;
/** Looks in a row after one event: each may serve some. */
export const queueRoundsMax = 64;
/** What ends in one look. */
export const lapsedPerLookMax = 200;
/** A request that let so many offers lapse ends. */
export const offersLapsedMax = 3;
/** For how long one request may accumulate before it gives all back and queues anew. */
export const accumulateMsMax = 6 * 3_600_000;
/** How often requests in several zones hear of each other, and how many in one turn. */
export const companionsEveryMs = 2_000;
export const companionsPerTurnMax = 500;
/** For how long a cell goes by what it heard of offers in other zones. */
export const companionsHeardMs = 15_000;
/** Ended requests, and events, stay visible for a week. */
export const capacityKeptMs = 7 * 24 * 3_600_000;
/** How long a receiver of a webhook has to answer; how many are sent at once, of all and to one receiver. */
export const webhookTimeoutMs = 10_000;
export const webhooksAtOnceMax = 32;
export const webhooksPerReceiverMax = 4;
/** A delivery whose processor died is tried again after this long. */
export const webhookLeaseMs = 30_000;
/** Pauses between tries, doubled each time; after so many tries it is a dead letter: some nine hours. */
export const webhookBackoffMsMin = 5_000;
export const webhookBackoffMsMax = 3_600_000;
export const webhookAttemptsMax = 20;
export const deadLettersShownMax = 1_000;
/** How often the region is told which accounts have instances here. */
export const accountNotesEveryMs = 30_000;
/** How often the cell's hosts and VMs are compared with its limits. */
export const fillLookEveryMs = 5_000;
