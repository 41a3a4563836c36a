/** The region as the router sees it. */
import type { z } from 'zod';
import type { TlsMaterial } from '#base/identity.ts';
import { type ReplicaAddress, ReplicaClient } from '#base/rpc/replicas.ts';
import { PandoError } from '#contracts/errors.ts';
import type { ProfilePolicy } from '#contracts/profiles.ts';
import { type CellRecord, regionContract } from '#contracts/region.ts';
import { rolloutHttpContract } from '#contracts/rollout-http.ts';
import { scopeName } from '#wire/sigv4/dayKeys.ts';
import { answered, failed, type Outcome, unavailable } from './outcome.ts';
import type { BackendCall } from './processor.ts';

/** What signatures of an access key are checked with, and its owner. */
export interface AccessKey {
  /** By `scopeName`: a router never has the secret itself. */
  readonly signingKeys?: ReadonlyMap<string, Buffer> | undefined;
  /** Of a region of the last release, which knows no signing keys. */
  readonly secret?: string | undefined;
  readonly accountId: string;
  readonly arn: string;
  readonly userId: string;
  /** Temporary keys alone, as what follows: the token that it was found with. */
  readonly sessionToken?: string | undefined;
  /** Milliseconds since 1970. */
  readonly expiresAtMs?: number | undefined;
  readonly policy?: ProfilePolicy | undefined;
}

const asked = { ...regionContract, ...rolloutHttpContract } as const;

type RolloutHttp = (typeof rolloutHttpContract)['rollout.http'];
export type RolloutHttpRequest = z.output<RolloutHttp['params']>;
export type RolloutHttpAnswer = z.output<RolloutHttp['result']>;

export interface RegionLinkOptions {
  readonly tls: TlsMaterial;
  /** Where its replicas are. */
  readonly at: readonly ReplicaAddress[];
  readonly callTimeoutMs: number;
  /** Ask for keys of single days, good for the region's own name alone; else for the secret, from which those of any name are derived. */
  readonly signingKeys: boolean;
}

/** A lookup blocks a client's request: shorter than the deadline of a call that does work. */
const lookupTimeoutMsMax = 5_000;
const connectTimeoutMsMax = 2_000;
/** Who cannot be told which cells to ask asks all of them: that must not take long. */
const indexTimeoutMsMax = 400;

export class RegionLink {
  readonly #client: ReplicaClient<Record<never, never>, typeof asked>;
  readonly #callTimeoutMs: number;
  readonly #signingKeys: boolean;
  #met = false;

  constructor({ tls, at, callTimeoutMs, signingKeys }: RegionLinkOptions) {
    this.#callTimeoutMs = callTimeoutMs;
    this.#signingKeys = signingKeys;
    const expect = 'spiffe://pando/region/';
    this.#client = new ReplicaClient({
      tls,
      at,
      expect,
      remote: asked,
      contract: {},
      handlers: {},
      onConnect: () => {
        this.#met = true;
      },
    });
  }

  get connected(): boolean {
    return this.#client.connected;
  }

  /** Resolves when the stream is up. @throws `HostUnreachable` after a bounded wait. */
  ready(timeoutMs = connectTimeoutMsMax): Promise<void> {
    return this.#client.ready(timeoutMs);
  }

  /**
   * `undefined`: there is no such key. Only a router that has just started waits for the region here.
   *
   * @throws when the region cannot be asked.
   */
  async accessKey(accessKeyId: string, sessionToken?: string): Promise<AccessKey | undefined> {
    if (!this.#met) await this.ready();
    const found = await this.#client.call(
      'region.accessKey',
      { accessKeyId, sessionToken, ...(this.#signingKeys && { signingKeys: true as const }) },
      { timeoutMs: lookupTimeoutMsMax },
    );
    const { secret, signingKeys, accountId, arn, userId } = found;
    if (!found.found || accountId === undefined) return undefined;
    if (secret === undefined && signingKeys === undefined) return undefined;
    // Fail closed: a key that a token belongs to has an end and a policy.
    const { expiresAt, policy } = found;
    if (sessionToken !== undefined && (expiresAt === undefined || policy === undefined)) return undefined;
    return {
      ...(signingKeys === undefined
        ? { secret }
        : {
            signingKeys: new Map(
              signingKeys.map((each) => [scopeName(each), Buffer.from(each.key, 'base64')]),
            ),
          }),
      accountId,
      arn: arn ?? `arn:aws:iam::${accountId}:root`,
      userId: userId ?? accountId,
      ...(sessionToken === undefined || expiresAt === undefined
        ? {}
        : { sessionToken, expiresAtMs: Date.parse(expiresAt), policy }),
    };
  }

  async cells(): Promise<{ cells: readonly CellRecord[]; cellsPerAccount?: number | undefined }> {
    if (!this.connected) await this.ready();
    return this.#client.call('region.cells', {}, { timeoutMs: lookupTimeoutMsMax });
  }

  /** The cells in which an account has, or had, instances. @throws when the region cannot be asked in time, or is of the last release */
  async accountCells(accountId: string): Promise<readonly string[]> {
    const options = { timeoutMs: indexTimeoutMsMax };
    return (await this.#client.call('region.accountCells', { accountId }, options)).cellIds;
  }

  /** One action. A call that repeats safely is sent once more when the stream breaks under it. */
  async call(call: BackendCall, repeatable: boolean): Promise<Outcome> {
    const first = await this.#attempt(call);
    if (first.state === 'answered' || first.state === 'refused') return first;
    if (first.state === 'uncertain' && (!repeatable || first.error.code === 'DeadlineExceeded')) return first;
    await this.ready().catch(() => undefined);
    return this.connected ? this.#attempt(call) : first;
  }

  /** A request of an operator, as it was signed. @throws Unavailable when the region does not answer: it may have been carried out */
  async rolloutHttp(asked: RolloutHttpRequest): Promise<RolloutHttpAnswer> {
    if (!this.connected) await this.ready().catch(() => undefined);
    const options = { timeoutMs: this.#callTimeoutMs, requestId: asked.requestId };
    try {
      return await this.#client.call('rollout.http', asked, options);
    } catch (error) {
      const outcome = failed(error, 'region');
      if (outcome.state === 'refused') throw outcome.error;
      throw unavailable(
        'The region does not answer for the moment. Send your request again; with a clientToken it is carried out once.',
        error,
      );
    }
  }

  close(): void {
    this.#client.close();
  }

  async #attempt(call: BackendCall): Promise<Outcome> {
    if (!this.connected)
      return {
        state: 'undelivered',
        error: new PandoError('HostUnreachable', 'The region is not connected.'),
      };
    try {
      const options = { timeoutMs: this.#callTimeoutMs, requestId: call.requestId };
      return answered((await this.#client.call('ec2.call', call, options)).output, 'region');
    } catch (error) {
      return failed(error, 'region');
    }
  }
}
