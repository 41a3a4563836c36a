/**
 * Health by measurement (S8.3): exactly the checks that a policy names. The cards that changed measure to each other and to cards that did
 * not, and these to them; before anything changes the cards of the first wave do so, and that is what is healthy.
 */
import { monotonicMs } from '#base/monotonic.ts';
import {
  type ProbeMember,
  type ProbeReport,
  type ProbeRequest,
  probeMembersMax,
} from '#contracts/card-probe.ts';
import { PandoError } from '#contracts/errors.ts';
import type { HealthCheck } from '#contracts/rollout-policy.ts';
import type { RolloutRecord } from '#rollout/record.ts';
import type { Verdict } from '#rollout/run.ts';
import type { HealthMeter } from './engine.ts';
import type { Fleet } from './fleet.ts';
import { baselineOf, complaintsOf, healthBaseline, type Measured } from './health.ts';

/** Cards that changed, and cards that did not, of one measurement. */
const subjectsMax = 16;
const peersMax = 16;
/** Each card measures to so many others. */
const targetsMax = 6;
/** Longest that `control` lets an answer take. */
const controlMsMax = 5_000;
const complaintsTold = 6;

export interface ProbeMeterOptions {
  readonly fleet: Fleet;
  now(): number;
  /** Of the overlay, in bytes. */
  readonly mtu: number;
  /** Addresses for guests of these cards: of tenants there, so that what is wrong with a range shows; absent: `addressOf`. */
  addresses?(vteps: readonly string[]): Promise<ReadonlyMap<string, string>>;
}

interface Card {
  readonly deviceId: string;
  readonly member: ProbeMember;
}

type Answered = Measured | { readonly deviceId: string; readonly error: PandoError };

export class ProbeMeter implements HealthMeter {
  readonly measures: ReadonlySet<HealthCheck> = new Set([
    ...(['overlay', 'metadata', 'tcp', 'control', 'counters'] as const),
  ]);
  readonly #options: ProbeMeterOptions;

  constructor(options: ProbeMeterOptions) {
    this.#options = options;
  }

  async baseline(
    record: RolloutRecord,
    firstWave: readonly string[],
  ): Promise<{ readonly baseline: unknown; readonly verdict: Verdict }> {
    const beganMs = this.#options.now();
    const { fleet } = this.#options;
    const isReached = (id: string): boolean => fleet.reachable(id);
    const reached = firstWave.filter(isReached);
    // Where none of the first wave is there, others say what is healthy.
    const subjects =
      reached.length > 0 ? reached : fleet.devices().flatMap(({ id }) => (isReached(id) ? id : []));
    if (subjects.length === 0) return { baseline: undefined, verdict: nobody(beganMs) };
    const { silent, answers } = await this.#ask(record, subjects);
    const measured = answers.flatMap((each) => ('report' in each ? each : []));
    const baseline = baselineOf(measured);
    const errors = answers.flatMap((each) => ('error' in each ? told(each) : []));
    // What is broken before anything changed would be blamed on the change.
    const broken = measured.flatMap((each) =>
      complaintsOf(record.policy.health, { ...baseline, loss: 0 }, each),
    );
    return { baseline, verdict: verdictOf(beganMs, [...silent, ...broken], errors) };
  }

  async measure(record: RolloutRecord, changed: readonly string[]): Promise<Verdict> {
    const beganMs = this.#options.now();
    const baseline = healthBaseline.safeParse(record.baseline);
    if (!baseline.success) return { kind: 'unknown', detail: 'there is no baseline', beganMs };
    const { silent, answers } = await this.#ask(record, changed);
    const complaints = answers.flatMap((each) =>
      'report' in each ? complaintsOf(record.policy.health, baseline.data, each) : [],
    );
    const errors = answers.flatMap((each) => ('error' in each ? told(each) : []));
    return verdictOf(beganMs, [...silent, ...complaints], errors);
  }

  /** `silent`: those that `control` finds without an answer. */
  async #ask(
    record: RolloutRecord,
    subjects: readonly string[],
  ): Promise<{ silent: string[]; answers: Answered[] }> {
    const { checks } = record.policy.health;
    const chosen = subjects.slice(0, subjectsMax);
    const silent = checks.includes('control')
      ? (await Promise.all(chosen.map((id) => this.#control(id)))).flatMap((each) => each ?? [])
      : [];
    const probed = checks.filter((check) => check !== 'control');
    if (probed.length === 0) return { silent, answers: [] };
    return { silent, answers: await this.#probe(chosen, probed) };
  }

  async #control(deviceId: string): Promise<string | undefined> {
    const began = monotonicMs();
    const device = this.#options.fleet.device(deviceId);
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<undefined>((resolve) => {
      timer = setTimeout(() => resolve(undefined), controlMsMax);
    });
    const answer = await Promise.race([device?.objects([]).catch(() => undefined), late]);
    clearTimeout(timer);
    return answer === undefined
      ? `${deviceId}: control: no answer after ${Math.round(monotonicMs() - began)} ms`
      : undefined;
  }

  async #probe(subjects: readonly string[], checks: ProbeRequest['checks']): Promise<Answered[]> {
    const cards = await this.#cards(subjects);
    const members = cards.map(({ member }) => member);
    const own = new Set(subjects);
    // Every guest is laid before one of them is measured.
    const laid = await Promise.all(
      cards.map((card) => this.#request(card, { members, targets: [], checks: [], mtu: this.#options.mtu })),
    );
    // A card that did not change and has no guest tells nothing about those that did.
    const here = cards.filter((_, at) => {
      const answer = laid[at];
      return answer !== undefined && 'report' in answer;
    });
    const errors = laid.filter((each) => 'error' in each && own.has(each.deviceId));
    const needsPeers = checks.includes('overlay') || checks.includes('tcp');
    if (needsPeers && here.length === 1 && this.#cardCount() > 1)
      return [
        { deviceId: 'overlay', error: new PandoError('HostUnreachable', 'no second card can be reached') },
      ];
    const measured = await Promise.all(
      here.map((card) =>
        this.#request(card, { members, checks, mtu: this.#options.mtu, targets: targetsOf(card, here, own) }),
      ),
    );
    // A card that did not change and died meanwhile is no failure of the change.
    return [...errors, ...measured.filter((each) => 'report' in each || own.has(each.deviceId))];
  }

  async #request({ deviceId }: Card, request: ProbeRequest): Promise<Answered> {
    const device = this.#options.fleet.device(deviceId);
    try {
      if (device?.probe === undefined)
        throw new PandoError('UnsupportedOperation', 'nothing can be measured from it');
      const report: ProbeReport = await device.probe(request);
      return { deviceId, report };
    } catch (error) {
      return { deviceId, error: PandoError.from(error) };
    }
  }

  #cardCount(): number {
    return this.#options.fleet.devices().filter(({ id }) => vtepOf(id) !== undefined).length;
  }

  /** The subjects, and others of the fleet that can be reached. */
  async #cards(subjects: readonly string[]): Promise<Card[]> {
    const { fleet, addresses } = this.#options;
    const chosen = new Set(subjects);
    const others = fleet
      .devices()
      .filter(({ id }) => !chosen.has(id) && vtepOf(id) !== undefined && fleet.reachable(id))
      .map(({ id }) => id);
    const vteps = [...chosen, ...spread(others, peersMax)]
      .flatMap((id) => vtepOf(id) ?? [])
      .slice(0, probeMembersMax);
    const known = (await addresses?.(vteps)) ?? new Map<string, string>();
    const taken = new Set<string>();
    return vteps.map((vtep) => {
      let ip = known.get(vtep) ?? addressOf(vtep);
      // Two VPCs may have the same addresses; guests are all in one.
      for (let at = 1; taken.has(ip); at += 1) ip = addressOf(vtep, at);
      taken.add(ip);
      return { deviceId: `card/${vtep}`, member: { vtep, ip } };
    });
  }
}

const nobody = (beganMs: number): Verdict => ({
  ...{ kind: 'unknown', detail: 'no device can be reached', beganMs },
});

const vtepOf = (deviceId: string): string | undefined => /^card\/(.+)$/.exec(deviceId)?.[1];

/** For guests where no tenant is: of the range for measurements between networks (RFC 2544). */
export const addressOf = (vtep: string, shift = 0): string => {
  const [, , c = '0', d = '0'] = vtep.split('.');
  const number = (Number(c) * 256 + Number(d) + shift * 7_919) % 65_536;
  return `198.19.${number >> 8}.${number & 255}`;
};

/** Every so-manieth: of a fleet in order, so that all cells are in it, and the same ones each time. */
const spread = <T>(all: readonly T[], count: number): T[] => {
  if (all.length <= count) return [...all];
  return Array.from({ length: count }, (_, at) => all[Math.floor((at * all.length) / count)]).flatMap(
    (each) => (each === undefined ? [] : [each]),
  );
};

/** A card that changed measures to any; one that did not only to those that did. */
const targetsOf = (card: Card, all: readonly Card[], changed: ReadonlySet<string>): string[] => {
  const at = all.indexOf(card);
  const turned = [...all.slice(at + 1), ...all.slice(0, at)];
  const possible = changed.has(card.deviceId)
    ? turned
    : turned.filter(({ deviceId }) => changed.has(deviceId));
  return possible.slice(0, targetsMax).map(({ member }) => member.ip);
};

const told = ({ deviceId, error }: { deviceId: string; error: PandoError }): string =>
  `${deviceId}: not measured: ${error.message}`;

const verdictOf = (beganMs: number, complaints: readonly string[], unknown: readonly string[]): Verdict => {
  const detail = [...complaints, ...unknown].slice(0, complaintsTold).join('; ');
  if (complaints.length > 0) return { kind: 'unhealthy', detail, beganMs };
  return { kind: unknown.length > 0 ? 'unknown' : 'healthy', detail, beganMs };
};
