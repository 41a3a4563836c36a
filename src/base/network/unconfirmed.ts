/** Transactions that a device takes back by itself unless they are confirmed in time (S8.4). */
import { PandoError } from '#contracts/errors.ts';
import type { DeviceTransaction } from '#contracts/network-objects.ts';
import { keyOf } from './objects.ts';
import type { Undo } from './transaction.ts';

/** Of one device. */
const unconfirmedMax = 64;

export class Unconfirmed {
  readonly #waiting = new Map<string, { readonly undo: readonly Undo[]; readonly timer: NodeJS.Timeout }>();
  readonly #lapsed: (transactionId: string, undo: readonly Undo[]) => void;

  /** `lapsed` takes it back; it is no longer counted here then. */
  constructor(lapsed: (transactionId: string, undo: readonly Undo[]) => void) {
    this.#lapsed = lapsed;
  }

  has(transactionId: string | undefined): boolean {
    return transactionId !== undefined && this.#waiting.has(transactionId);
  }

  /** By transaction, as it is written down. */
  all(): [string, readonly Undo[]][] {
    return [...this.#waiting].map(([transactionId, { undo }]) => [transactionId, undo]);
  }

  /**
   * Transactions that this one takes back: they are over once it is carried out. @throws Conflict when another transaction that is not
   * confirmed yet has changed one of its objects
   */
  check({ transactionId, objects, confirmWithinMs }: DeviceTransaction): readonly string[] {
    if (this.has(transactionId)) return [];
    const keys = new Set(objects.map(keyOf));
    const takenBack: string[] = [];
    for (const [other, { undo }] of this.#waiting) {
      if (!undo.some((each) => keys.has(keyOf(each)))) continue;
      if (!isWayBack(undo, objects))
        throw new PandoError(
          'Conflict',
          `Transaction ${other}, which nobody has confirmed yet, changes the same.`,
        );
      takenBack.push(other);
    }
    if (confirmWithinMs !== undefined && this.#waiting.size >= unconfirmedMax)
      throw new PandoError('Conflict', `${unconfirmedMax} transactions wait to be confirmed.`);
    return takenBack;
  }

  /** Repeated: the first one's time goes on. */
  wait(transactionId: string, undo: readonly Undo[], withinMs: number): void {
    if (this.#waiting.has(transactionId)) return;
    const lapse = (): void => {
      this.#waiting.delete(transactionId);
      this.#lapsed(transactionId, undo);
    };
    this.#waiting.set(transactionId, { undo, timer: setTimeout(lapse, withinMs).unref() });
  }

  /** It was not carried out after all. */
  drop(transactionId: string): void {
    clearTimeout(this.#waiting.get(transactionId)?.timer);
    this.#waiting.delete(transactionId);
  }

  /** @throws NotFound: it has lapsed, or there was none */
  confirm(transactionId: string): void {
    if (!this.#waiting.has(transactionId))
      throw new PandoError('NotFound', `No transaction ${transactionId} waits to be confirmed here.`);
    this.drop(transactionId);
  }
}

/** Whether these changes lead everything that a transaction did to where it was before. */
const isWayBack = (undo: readonly Undo[], objects: DeviceTransaction['objects']): boolean =>
  undo.every(({ current, ...of }) =>
    objects.some((change) => keyOf(change) === keyOf(of) && change.to?.digest === current?.digest),
  );
