/** Keeps a list of processes running: starts them in order, notices death, bounds their logs. */
import {
  copyFileSync,
  mkdirSync,
  readFileSync,
  renameSync,
  statSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { inspect, isDeepStrictEqual } from 'node:util';
import type { TlsPaths } from '#base/config.ts';
import { monotonicMs } from '#base/monotonic.ts';
import { keepCertificate, type Renewal } from '#base/renewal.ts';
import type { RunDirectory } from './directory.ts';
import { Growth } from './growth.ts';
import { type MetricsView, showAllMetrics } from './metricsView.ts';
import { type ProcessList, type ProcessSpec, processList, specDigest, startOrder } from './processSpec.ts';
import { checkReadiness, type Missing, type Readiness } from './readiness.ts';
import { relaySpans, type SpanRelay } from './spanRelay.ts';
import { Supervised, type SupervisedStatus } from './supervised.ts';

/** A log longer than this is moved to `NAME.log.1`, which is overwritten. */
export const logBytesMax = 16 * 1024 * 1024;
/** While something is on its way, and when all is ready: then only a death is waited for. */
const tickMs = 100;
const quietTickMs = 500;
const rotateEveryMs = 5_000;
/** How long processes of the former release that are not ready delay the next replacement. */
export const rollPatienceMs = 15_000;

export class Supervisor {
  readonly #directory: RunDirectory;
  readonly #log: (line: string) => void;
  #processes: Supervised[] = [];
  /** Names, in the order in which outdated ones are replaced. */
  #rollOrder: string[] = [];
  #rollAtMs = 0;
  #readiness: Readiness | undefined;
  #askedAs: TlsPaths | undefined;
  #renewal: Renewal | undefined;
  #metrics: MetricsView | undefined;
  #spans: SpanRelay | undefined;
  readonly #growth: Growth;
  #growthCommand: readonly string[] | undefined;
  #timer: NodeJS.Timeout | undefined;
  #rotateAtMs = 0;
  /** Work on the list runs one after the other: a tick never sees a list that is half changed. */
  #queue: Promise<unknown> = Promise.resolve();
  #stopped = false;

  constructor(directory: RunDirectory, log: (line: string) => void) {
    this.#directory = directory;
    this.#log = log;
    this.#growth = new Growth({ log: (line) => log(`growth: ${line}`) });
  }

  get status(): SupervisedStatus[] {
    return this.#processes.map((process) => process.status);
  }

  /** Reads the list of the run directory and follows it: adopts what runs, starts what is missing, ends what is gone from it. */
  load(): Promise<void> {
    return this.#inTurn(async () => {
      const list = processList.parse(JSON.parse(readFileSync(this.#directory.processList, 'utf8')));
      await this.#follow(list);
      this.#schedule();
    });
  }

  /** Ends one process; it is started again at once. */
  restart(name: string): Promise<void> {
    return this.#inTurn(async () => {
      const process = this.#processes.find((each) => each.spec.name === name);
      if (process === undefined)
        throw new Error(
          `There is no process ${name}. There are: ${this.#processes.map((each) => each.spec.name).join(' ')}`,
        );
      await process.replace();
    });
  }

  /** Ends all processes, those that others need last. */
  async stop(): Promise<void> {
    this.#stopped = true;
    clearTimeout(this.#timer);
    await this.#inTurn(async () => {
      this.#readiness?.close();
      this.#renewal?.stop();
      this.#metrics?.close();
      this.#spans?.close();
      const [databases, others] = [this.#of('postgres'), this.#of('node')];
      await Promise.all(others.map((process) => process.stop()));
      await Promise.all(databases.map((process) => process.stop()));
    });
  }

  /** Leaves every process running and stops looking after them. */
  release(): void {
    this.#stopped = true;
    clearTimeout(this.#timer);
    this.#readiness?.close();
    this.#renewal?.stop();
    this.#metrics?.close();
    this.#spans?.close();
  }

  /** With which certificate processes are asked; streams that are open to them stay open when it is the same file. */
  #askAs(files: TlsPaths): void {
    if (this.#readiness !== undefined && isDeepStrictEqual(files, this.#askedAs)) return;
    this.#readiness?.close();
    this.#readiness = checkReadiness(files);
    this.#askedAs = files;
    this.#renewal?.stop();
    this.#renewal = keepCertificate(files, {
      info: (_facts, message) => this.#log(`supervisor: ${message}`),
      warn: (facts, message) => this.#log(`supervisor: ${message} ${inspect(facts)}`),
    });
  }

  #showMetrics(at: ProcessList['metrics']): void {
    if (isDeepStrictEqual(at, this.#metrics?.at)) return;
    this.#metrics?.close();
    this.#metrics = at && showAllMetrics(at, this.#directory, this.#log);
  }

  #relaySpans(to: ProcessList['otlp']): void {
    if (isDeepStrictEqual(to, this.#spans?.to)) return;
    this.#spans?.close();
    this.#spans = to && relaySpans(to, this.#log);
  }

  readonly #missing: Missing = async (spec, pid) =>
    this.#readiness === undefined ? 'not looked at yet' : this.#readiness.missing(spec, pid);

  #of(kind: ProcessSpec['kind']): Supervised[] {
    return this.#processes.filter((process) => process.spec.kind === kind);
  }

  async #follow(list: ProcessList): Promise<void> {
    this.#askAs(list.tls);
    this.#showMetrics(list.metrics);
    this.#relaySpans(list.otlp);
    this.#growthCommand = list.growth?.command;
    const wanted = startOrder(list.processes);
    this.#rollOrder = list.processes.map((spec) => spec.name);
    this.#rollAtMs = monotonicMs() + rollPatienceMs;
    const names = new Set(wanted.map((spec) => spec.name));
    await Promise.all(
      this.#processes.filter((each) => !names.has(each.spec.name)).map((each) => each.stop()),
    );
    mkdirSync(this.#directory.log, { recursive: true, mode: 0o700 });
    const followed: Supervised[] = [];
    for (const spec of wanted) followed.push(await this.#followOne(spec, list.rolling === true));
    this.#processes = followed;
  }

  async #followOne(spec: ProcessSpec, rolling: boolean): Promise<Supervised> {
    const present = this.#processes.find((each) => each.spec.name === spec.name);
    if (present !== undefined && specDigest(present.spec) === specDigest(spec)) {
      present.respecify(spec);
      return present;
    }
    if (spec.kind === 'node')
      writeFileSync(spec.configPath, `${JSON.stringify(spec.config, null, 2)}\n`, { mode: 0o600 });
    const process = new Supervised(spec, this.#directory, this.#missing, this.#log);
    await process.adopt(rolling);
    return process;
  }

  #schedule(): void {
    clearTimeout(this.#timer);
    if (this.#stopped) return;
    this.#timer = setTimeout(
      () => {
        // A look that fails must not be the last one: nothing restarts the supervisor.
        void this.#inTurn(() => this.#tick())
          .catch((error: unknown) =>
            this.#log(`a look at the processes failed: ${error instanceof Error ? error.stack : error}`),
          )
          .finally(() => this.#schedule());
      },
      this.#isQuiet ? quietTickMs : tickMs,
    );
  }

  get #isQuiet(): boolean {
    return this.#processes.every((each) => each.ready && !each.outdated);
  }

  /**
   * Replaces the next outdated process once all are ready. Processes of the present code are waited for without end: code that does not
   * come up must not take the rest of the region along. Processes of the former code delay it for a bounded time.
   */
  async #roll(): Promise<void> {
    const unready = this.#processes.filter((each) => !each.ready);
    if (unready.some((each) => !each.outdated)) return;
    if (unready.length > 0 && monotonicMs() < this.#rollAtMs) return;
    const outdated = this.#processes.filter((each) => each.outdated);
    const name = this.#rollOrder.find((one) => outdated.some((each) => each.spec.name === one));
    const next = outdated.find((each) => each.spec.name === name);
    if (next === undefined) return;
    this.#log(`${next.spec.name}: replaced, ${outdated.length - 1} to go`);
    await next.replace();
    this.#rollAtMs = monotonicMs() + rollPatienceMs;
    for (const each of this.#processes) each.lookAgain();
  }

  async #tick(): Promise<void> {
    const ready = new Set(this.#processes.filter((each) => each.ready).map((each) => each.spec.name));
    await Promise.all(
      this.#processes.map((each) => each.tick(each.spec.after.every((name) => ready.has(name)))),
    );
    await this.#roll();
    this.#growth.look(this.#isQuiet && this.#readiness?.nearlyFull() === true, this.#growthCommand);
    if (monotonicMs() < this.#rotateAtMs) return;
    this.#rotateAtMs = monotonicMs() + rotateEveryMs;
    for (const each of this.#processes) this.#rotate(each.spec.name);
  }

  /** Processes append to the file that they were given, so it is copied and cut, not renamed. */
  #rotate(name: string): void {
    const path = this.#directory.logFile(name);
    try {
      if (statSync(path).size <= logBytesMax) return;
      copyFileSync(path, `${path}.1.new`);
      truncateSync(path);
      renameSync(`${path}.1.new`, `${path}.1`);
    } catch {
      // Not written yet.
    }
  }

  #inTurn<T>(work: () => Promise<T>): Promise<T> {
    const result = this.#queue.then(work);
    this.#queue = result.catch(() => undefined);
    return result;
  }
}
