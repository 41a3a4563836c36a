/** Limits of the agent. */
const mib = 1024 * 1024;

export const commandsWaitingPerVmMax = 16;
export const workflowsRecordedPerVmMax = 16;
export const stepsRecordedPerWorkflowMax = 32;
export const fencesMax = 2048;
/** Instances of the last hours that this host remembers though it has them no more. */
export const tombstonesMax = 16_384;
/** As many as a lab leaves uids between its hosts, which share one machine's processes. */
export const vmsPerHostMax = 1_000;

/** How often a VPC that was removed from the card in the middle of a launch is declared again. */
export const declarationTriesMax = 3;
export const cardCallTimeoutMs = 10_000;
/** A card with many VPCs removes them one after the other. */
export const cardRebuildTimeoutMs = 120_000;
export const monitorCallTimeoutMs = 10_000;
export const monitorCallsInFlightMax = 64;
export const monitorLineBytesMax = 4 * mib;
/** From the start of the VMM process until its monitor answers. */
export const monitorReadyTimeoutMs = 20_000;
export const monitorPollMs = 10;
/** How often a VMM without a monitor is looked at when nothing tells of a change, to see whether it still lives. */
export const monitorLookMs = 100;
export const processPollMs = 20;
/** From `quit` until the VMM has written out its disk and is gone. */
export const quitMsMax = 3_000;
/** From the end of a VMM until its exit status is known to us, its parent. */
export const exitKnownMsMax = 200;
/** From SIGKILL until the process is gone. */
export const killTimeoutMs = 10_000;
export const stopGraceMsMax = 120_000;
/** A copy that neither sends nor gets on for this long is given up, and the guest runs on at the source. */
export const migrationStallMsMaxDefault = 60_000;
/** From the end of a switch's budget until the card takes the guest's packets back if this agent has died meanwhile. */
export const redirectLapseMarginMs = 500;
/** One question whether a guest was handed over waits this long for the answer; the next follows after a pause. */
export const handoverWaitMs = 5_000;
export const handoverAskEveryMs = 200;
/** From the order to mirror the disk until the target's listener has answered; the VMM is held up meanwhile. */
export const diskListenerTimeoutS = 3;
export const tapScriptTimeoutMs = 20_000;
export const probeTimeoutMs = 4_000;

/** Memory that a VMM needs beside its guest's, in MiB: the cgroup's limit, and the part that admission counts as real. */
export const overheadLimitMib = 256;
export const overheadTypicalMib = 88;
export const threadsPerVmMax = 256;
export const cpuPeriodUs = 20_000;
export const cpuQuotaUsMin = 1_000;
/** What a VMM's own threads may use beside the guest's processors: this share of them, at most this many CPUs. */
export const vmmCpusPerVcpu = 0.25;
export const vmmCpusMax = 0.25;
/** CPUs for the threads that copy a VM which moves. */
export const migrationCpus = 1;

export const imageChunkBytes = 256 * 1024;
export const imageChunksInFlight = 8;
export const manifestBytesMax = mib;
export const imageChunkTimeoutMs = 60_000;
/** How long an image that was ensured waits for its launch before it may be evicted. */
export const imagePinMsMax = 15 * 60_000;

export const consoleBytesMax = mib;
export const consoleShownBytes = 64 * 1024;

/** Of the file system that the VMs' disks lie on: what is kept for the host's own writing, and promised to no VM. */
export const diskReserveMibDefault = 512;
/** A file that is given up when there is no room at all, so that records of VMs can still be written. */
export const spareRoomBytes = 4 * mib;
/** A VM that found no room goes on once there is this much, or half of the reserve where that is less. */
export const resumeRoomMib = 64;
/** Between tries to let such a VM go on: doubled while it finds no room again at once. */
export const resumePauseMsMin = 2_000;
export const resumePauseMsMax = 60_000;
/** How often the VMs and the disk are looked at. */
export const healthEveryMs = 2_000;
/** VMs that are looked at at the same time. */
export const healthLooksAtOnceMax = 32;
/** How long a look waits for the VMM's answer; one that misses this many looks in a row is told of as one that does not answer. */
export const healthAnswerMsMax = 2_000;
export const looksMissedMax = 2;
/** Resets by the guest itself are counted within this time; no more of them than this are remembered. */
export const resetsWithinMs = 5 * 60_000;
export const resetsRememberedMax = 16;
/** From a reset until the firmware's own, which it may add. */
export const resetFollowsMsMax = 1_000;
/** From an order to reset the machine until it has been reset. */
export const resetMsMax = 5_000;
export const resetPollMs = 20;

/** From a change until it is reported. */
export const changedReportMs = 100;
export const reportEveryMsDefault = 2_000;
export const reportEveryMsMin = 100;

/** Steps of a rebuild that wait behind one that is under way. */
export const rebuildStepsWaitingMax = 4;
/** Memory and disk that diagnostics test: by default, and all that they test of a host under suspicion. */
export const memoryTestMib = 64;
export const memoryTestThoroughMib = 1_024;
export const diskTestMib = 32;
export const diskTestThoroughMib = 512;
/** Patterns that are sent through the card and back. */
export const cardLoops = 32;
/** From the launch of the VM by which a host shows itself fit until its guest is heard; guests are slow without KVM. */
export const validationHeardMsMax = 5 * 60_000;
export const validationLookMs = 500;
/** How long what is being discarded is waited for by a scrub. */
export const discardPauseMs = 5_000;
/** Pressure is measured over this time; reports that are closer together look at the same moment. */
export const pressureWindowMs = 10_000;
export const pressureSampleMs = 1_000;
/** A window that is shorter says nothing: a few ticks of the kernel's clock would be all of it. */
export const pressureWindowMsMin = 2_000;
