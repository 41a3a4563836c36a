/** A definition's steps with their order: where a row stands in them, and how that is written for processors of the last release. */
import type { Direction, WorkflowRow } from '../store/workflows.ts';
import type { AnyStep, ErasedDefinition } from './definition.ts';

export type ErasedStep<Services> = AnyStep<unknown, Record<string, unknown>, Services>;

/** A row names a step that the table does not have: its version should have been raised. */
export class UnknownStep extends Error {
  constructor(kind: string, step: string) {
    super(`The workflow is at step ${step}, which ${kind} does not have in this release.`);
  }
}

/**
 * A position is a number of steps: forward, of those that are done; undoing, of those that are still to be undone. It is never
 * stored: a row names the step before which (forward) or after which (undoing) that position lies.
 */
export class StepTable<Services> {
  readonly steps: readonly ErasedStep<Services>[];
  /** Position from which on a cancellation is no longer honoured. */
  readonly noReturnAt: number;
  readonly #kind: string;
  readonly #names: readonly string[];
  readonly #cursorOrder: readonly string[];

  constructor({ kind, steps, cursorOrder }: ErasedDefinition<Services>) {
    this.steps = steps;
    this.#kind = kind;
    this.#names = steps.map((step) => step.name);
    this.#cursorOrder = cursorOrder ?? this.#names;
    const at = steps.findIndex((step) => step.noReturn);
    this.noReturnAt = at < 0 ? steps.length : at;
  }

  /** A step and those that run alongside it. */
  groupAt(position: number): readonly ErasedStep<Services>[] {
    let end = position + 1;
    while (this.steps[end]?.alongside) end++;
    return this.steps.slice(position, end);
  }

  /** @throws UnknownStep */
  positionOf(row: Pick<WorkflowRow, 'step' | 'step_cursor' | 'cursor'>, direction: Direction): number {
    const before = direction === 'undoing' ? 1 : 0;
    // A processor of the last release moved the cursor alone: then it is the newer of the two.
    const named = row.step !== null && row.step_cursor === row.cursor;
    const name = named ? row.step : this.#cursorOrder[row.cursor - before];
    if (name === undefined || name === null) return row.cursor <= 0 ? 0 : this.steps.length;
    const at = this.#names.indexOf(name);
    if (at < 0) throw new UnknownStep(this.#kind, name);
    return at + before;
  }

  /** How far an owner can have come whose row says `position`: to the end of the next group that it would have written down. */
  unwrittenEnd(position: number): number {
    let end = position;
    while (end < this.steps.length) {
      const group = this.groupAt(end);
      end += group.length;
      if (group.some((step) => step.commit !== undefined)) break;
    }
    return end;
  }

  /** The name under which a position is stored; null at the end of a way. */
  nameAt(position: number, direction: Direction): string | null {
    return this.steps[direction === 'undoing' ? position - 1 : position]?.name ?? null;
  }

  /** The position as the last release counts it: a step that it does not have counts as the one before it. */
  cursorAt(position: number): number {
    return this.#names.slice(0, position).filter((name) => this.#cursorOrder.includes(name)).length;
  }

  /** The results as they are written. */
  kept(results: Readonly<Record<string, unknown>>): Record<string, unknown> {
    const kept = { ...results };
    for (const { name, keeps } of this.steps)
      if (keeps !== undefined && Object.hasOwn(kept, name)) kept[name] = keeps(kept[name]);
    return kept;
  }
}
