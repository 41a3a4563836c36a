/** Simulated devices, as honest as the test wants them, behind a network that loses, delays and repeats. */

export type Character = 'honest' | 'claims' | 'denies' | 'nonsense';

/** Who commands, in order: a device refuses what is older than it has obeyed. */
export interface Fence {
  readonly epoch: number;
  readonly number: number;
}

export interface Command {
  readonly kind: 'apply' | 'confirm' | 'revert' | 'reconcile';
  readonly rolloutId: string;
  readonly key: string;
  readonly from: string;
  readonly to: string;
  readonly confirmMs: number;
  readonly fence: Fence;
}

export type Answer = 'ok' | 'drift' | 'refused' | 'lapsed' | 'nonsense';

export class SimDevice {
  readonly id: string;
  readonly character: Character;
  readonly has = new Map<string, string>();
  reachable = true;
  #pending:
    | { readonly rolloutId: string; readonly key: string; readonly back: string; readonly atMs: number }
    | undefined;
  #fence: Fence = { epoch: 0, number: 0 };

  constructor(id: string, character: Character) {
    this.id = id;
    this.character = character;
  }

  /** Commit-confirm (S8.4): nobody said that it stays. */
  tick(nowMs: number): void {
    if (this.#pending !== undefined && nowMs >= this.#pending.atMs) this.#goBack();
  }

  /** The kernel's state is put back by the next start. */
  crash(): void {
    this.#goBack();
  }

  obey(command: Command, nowMs: number): Answer {
    this.tick(nowMs);
    const { epoch, number } = command.fence;
    if (epoch < this.#fence.epoch || (epoch === this.#fence.epoch && number < this.#fence.number))
      return 'refused';
    this.#fence = command.fence;
    if (this.character === 'nonsense') return 'nonsense';
    if (this.character === 'claims') return 'ok';
    const answer = this.#carryOut(command, nowMs);
    return this.character === 'denies' && command.kind === 'apply' ? 'refused' : answer;
  }

  #carryOut({ kind, rolloutId, key, from, to, confirmMs }: Command, nowMs: number): Answer {
    const has = this.has.get(key);
    if (kind === 'reconcile') return this.#set(key, to);
    if (kind === 'revert') return has === from || has === to ? this.#set(key, from) : 'drift';
    if (kind === 'confirm') {
      if (this.#pending?.rolloutId === rolloutId) this.#pending = undefined;
      return has === to ? 'ok' : 'lapsed';
    }
    if (has === to) return 'ok';
    if (has !== from) return 'drift';
    this.#pending = { rolloutId, key, back: from, atMs: nowMs + confirmMs };
    this.has.set(key, to);
    return 'ok';
  }

  #set(key: string, digest: string): Answer {
    this.#pending = undefined;
    this.has.set(key, digest);
    return 'ok';
  }

  #goBack(): void {
    if (this.#pending !== undefined) this.has.set(this.#pending.key, this.#pending.back);
    this.#pending = undefined;
  }
}
