/** A card's own guest in the VPC that is nobody's: laid when it is asked for, gone when nobody has asked for a while. */
import { join } from 'node:path';
import type { Logger } from '#base/log.ts';
import { partsOf } from '#base/network/parts.ts';
import { checkMembers, probePort, probeState } from '#base/network/probe.ts';
import {
  type ProbeMember,
  type ProbeReport,
  type ProbeRequest,
  probeAnswerMs,
  probeVni,
  probeVpcId,
} from '#contracts/card-probe.ts';
import { PandoError } from '#contracts/errors.ts';
import type { VmMetadata } from '#contracts/network.ts';
import type { Device } from '../device.ts';
import { guestServicesUidBase, probeIdleMs } from '../limits.ts';
import { cardCounters } from './counters.ts';
import { ProbeGuest } from './process.ts';

/** What the card does for any guest. */
export interface GuestPlaces {
  readonly device: Device;
  prepareAdministrative(vpcId: string, eniId: string, metadata: VmMetadata): Promise<unknown>;
  attachPort(
    vpcId: string,
    port: ReturnType<typeof probePort>,
    tap: string,
    activate: boolean,
  ): Promise<unknown>;
}

interface Laid {
  readonly guest: ProbeGuest;
  readonly ip: string;
}

const tap = 'tapprobe';
/** Not the one of the VPC's metadata process: neither can send the other a signal. */
const uid = guestServicesUidBase + probeVni - 1;

export class Probe {
  readonly #vtep: string;
  readonly #stateDir: string;
  readonly #places: GuestPlaces;
  readonly #log: Logger;
  #laid: Laid | undefined;
  #version = 0;
  #told = '';
  #idle: NodeJS.Timeout | undefined;
  /** One is laid, told or removed at a time. */
  #tail: Promise<unknown> = Promise.resolve();

  constructor(vtep: string, stateDir: string, places: GuestPlaces, log: Logger) {
    this.#vtep = vtep;
    this.#stateDir = stateDir;
    this.#places = places;
    this.#log = log;
  }

  async measure(request: ProbeRequest): Promise<ProbeReport> {
    const own = checkMembers(this.#vtep, request);
    const guest = await this.#inTurn(() => this.#lay(own, request));
    this.#idle?.refresh();
    const { checks, targets, timeoutMs = probeAnswerMs } = request;
    const measured = await guest.measure({
      ...{ targets, timeoutMs, overlay: checks.includes('overlay') },
      ...{ tcp: checks.includes('tcp'), metadata: checks.includes('metadata') },
    });
    if (!checks.includes('counters')) return measured;
    return { ...measured, counters: await cardCounters(this.#places.device) };
  }

  /** Ends the guest and forgets its VPC; none: what an earlier process left of it. */
  remove(): Promise<void> {
    return this.#inTurn(() => this.#remove());
  }

  async #lay(own: ProbeMember, { members, mtu }: ProbeRequest): Promise<ProbeGuest> {
    const text = JSON.stringify([members, mtu]);
    const { device } = this.#places;
    if (this.#laid !== undefined && (this.#laid.guest.ended || this.#laid.ip !== own.ip))
      await this.#remove();
    if (text !== this.#told) {
      this.#version += 1;
      const vpc = device.vpc(probeVpcId);
      const state = probeState(members, mtu, this.#version);
      await vpc.serialize(() => vpc.become(partsOf(state, vpc.parts)));
      this.#told = text;
    }
    if (this.#laid !== undefined) return this.#laid.guest;
    const guest = await this.#start(own, mtu);
    this.#laid = { guest, ip: own.ip };
    this.#idle = setTimeout(() => {
      this.remove().catch((err: unknown) => this.#log.warn({ err }, 'the own guest was not removed'));
    }, probeIdleMs).unref();
    return guest;
  }

  async #start(own: ProbeMember, mtu: number): Promise<ProbeGuest> {
    const port = probePort(own);
    const { device } = this.#places;
    const guest = new ProbeGuest({
      ...{ ip: own.ip, mac: port.mac, tap, uid, cacheDir: join(this.#stateDir, 'compile-cache') },
      // As DHCP would tell it now; a guest that runs does not ask again when the settings change.
      mtu: Math.min(mtu, device.role.fleet().mtu ?? mtu),
    });
    try {
      await guest.ready();
      await this.#places.prepareAdministrative(probeVpcId, port.eniId, metadata);
      await this.#places.attachPort(probeVpcId, port, tap, true);
      // Each segment on its own: of a big one, cut only by the next card, no MTU in between would be noticed.
      const vpc = device.vpc(probeVpcId);
      await vpc.serialize(() => vpc.setOverlayOffloads(false));
      return guest;
    } catch (error) {
      await guest.close();
      await this.#remove();
      throw PandoError.from(error);
    }
  }

  async #remove(): Promise<void> {
    clearTimeout(this.#idle);
    await this.#laid?.guest.close();
    this.#laid = undefined;
    this.#told = '';
    const { vpcs } = this.#places.device;
    const vpc = vpcs.get(probeVpcId);
    if (vpc === undefined) return;
    await vpc.serialize(() => vpc.remove());
    if (vpc.isIdle) vpcs.delete(probeVpcId);
  }

  #inTurn<T>(work: () => Promise<T>): Promise<T> {
    const result = this.#tail.then(work);
    this.#tail = result.catch(() => undefined);
    return result;
  }
}

const metadata: VmMetadata = {
  ...{ instanceId: 'i-probe', accountId: '000000000000', imageId: 'ami-probe', instanceType: 'probe' },
  ...{ reservationId: 'r-probe', launchIndex: 0, hostname: 'probe.internal', availabilityZone: 'probe' },
  ...{ region: 'probe', httpTokens: 'optional', httpEndpoint: 'enabled', hopLimit: 1 },
  launchTime: '1970-01-01T00:00:00Z',
};
