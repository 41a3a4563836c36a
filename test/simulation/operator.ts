/** An operator's calls to a cell. */
import { RpcClient } from '#base/rpc/client.ts';
import { cellOperatorContract } from '#contracts/cell-operator.ts';
import { PandoError } from '#contracts/errors.ts';
import { cellNumberOf } from '#contracts/ids.ts';
import type { Cloud } from './cloud.ts';
import * as names from './shape.ts';

type Link = RpcClient<Record<never, never>, typeof cellOperatorContract>;
const callTimeoutMs = 5_000;

export class Operator {
  readonly #cloud: Cloud;
  readonly #links = new Map<number, Link>();

  constructor(cloud: Cloud) {
    this.#cloud = cloud;
  }

  /** Moves an instance to another host of its cell's choice. Answers what came of the call. */
  async migrate(instanceId: string): Promise<string> {
    try {
      await this.#link(cellNumberOf(instanceId) ?? 1).call(
        'operator.migrate',
        { instanceId },
        { timeoutMs: callTimeoutMs },
      );
      return 'done';
    } catch (error) {
      return `refused ${PandoError.from(error).code}`;
    }
  }

  close(): void {
    for (const link of this.#links.values()) link.close();
  }

  #link(cell: number): Link {
    const known = this.#links.get(cell);
    if (known !== undefined) return known;
    const made: Link = new RpcClient({
      tls: this.#cloud.parts.certificates.of('operator', 'operator'),
      host: names.processorName(cell, 1),
      port: names.processorPort,
      expect: 'spiffe://pando/cell/',
      remote: cellOperatorContract,
      contract: {},
      handlers: {},
    });
    this.#links.set(cell, made);
    return made;
  }
}
