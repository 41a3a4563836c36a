/** Limits and fixed numbers of a card. */
export const vxlanPort = 4789;
/** Name of the overlay device inside each VPC's namespace. */
export const overlayDevice = 'vx0';
/** Every tap's own: a VM that has moved finds its router behind the address that it knows already. */
export const routerMac = '02:70:61:6e:64:6f';
export const metadataAddress = '169.254.169.254';
export const metadataPort = 80;
/** Next hop that stands for the internet gateway inside a VPC; never on any wire. */
export const gatewayNextHop = '169.254.0.1';
/** Frames that may wait for a VMM that does not read for a moment (a guest that is being resumed). */
export const tapQueueFramesMax = 10_000;
/** Imported flows are let in for this long; from the first packet on, connection tracking knows them itself. */
export const importedFlowSecondsMax = 3600;
export const importedFlowsMax = 65_536;
/** Tries to remove tracked flows before the change that asked for it fails. */
export const forgetTriesMax = 3;
/** Pairs of addresses whose flows are removed one by one; of an address with more than these, all flows go. */
export const pairsForgottenMax = 256;
/** Elements in one `add element` statement. */
export const elementsPerStatementMax = 500;
export const scriptTimeoutMs = 20_000;
/** Namespaces in which a shell and tools stay, of one process; and for how long unused. */
export const keptNamespacesMax = 64;
export const shellIdleMsMax = 60_000;
/** Shells in a device's own namespace: so many VPCs are made or removed at the same time. */
export const ownShellsMax = 4;
/**
 * How long an open namespace stays when its last port has left, for the next one: to make it and its process of guest services costs a
 * fifth of a second of CPU. Above so many at a time, those that have been without ports longest go.
 */
export const emptyVpcKeptMs = 60_000;
export const emptyVpcsKeptMax = 8;

/** How often a device looks whether the kernel still has what it put there; it rests so many times as long as a look took. */
export const kernelLookEveryMs = 30_000;
export const kernelLookRest = 100;

/** Longest that a redirection waits for the VMM to read what was on its way to the tap. */
export const tapEmptyMsMax = 20;
/** Longest that a port's packets wait on a caller who asked for that and then was heard of no more. */
export const portPlugMsMax = 1_000;
export const pluggedBytesMax = 64 * 1024 * 1024;

export const queuePacketsMax = 32_768;
export const queueBytesMax = 64 * 1024 * 1024;
/** A release sends this many packets, then yields, so that the VMM's tap can be emptied between. */
export const queueBurstPackets = 256;
export const queueReceiveBufferBytes = 4 * 1024 * 1024;
/** Longest that `closeQueue` waits for silence before it answers; the queue then closes by itself. */
export const queueCloseWaitMsMax = 1_000;

export const tokenSecondsMax = 21_600;
export const metadataConnectionsMax = 256;
export const metadataConnectionsPerVmMax = 32;
export const metadataRequestBytesMax = 16 * 1024;
/** Of a body, which no request needs. */
export const metadataBodyBytesMax = 4 * 1024;
export const metadataRequestsPerConnectionMax = 128;
/** A connection ends after this long, whatever it does: clients open another. */
export const metadataConnectionMsMax = 15_000;
export const dhcpBytesMax = 1_500;
/** Packets a second that a tap may send to what its namespace answers itself (metadata, DHCP, the router), as in EC2; a burst of as many. */
export const linkLocalPacketsPerS = 1_024;

/** Each guest's requests are told of this often at most, by the process that answers them. */
export const heardEveryMs = 1_000;
/** Guests that are asked over ARP at the same time, and how long an answer takes at most. */
export const arpProbesAtOnceMax = 16;
export const arpAnswerMsMax = 1_000;
/** The same guest is asked again after this long at the earliest. */
export const arpProbeEveryMs = 5_000;

/** The users of the processes that answer guests: this, and the number of the VPC's overlay network. */
export const guestServicesUidBase = 2_000_000;
export const guestServicesHeapMib = 32;
export const guestServicesOpenFilesMax = 512;
export const guestServicesReadyMsMax = 15_000;
export const guestServicesRestartMsMin = 50;
export const guestServicesRestartMsMax = 5_000;
/** A process that ran for so long is started again at once. */
export const guestServicesSteadyMs = 10_000;
/** A process that says more to its card is ended: each guest of its VPC is told of twice in a second, and after each change. */
export const guestServicesLinesPerSMax = 5_000;
export const guestServicesUnsentBytesMax = 8 * 1024 * 1024;
export const leaseSeconds = 3600;
/** How often the underlay's device is asked how fast it is. */
export const speedReadEveryMs = 60_000;
/** The card's own guest goes when nobody has measured from it for so long. */
export const probeIdleMs = 60_000;
