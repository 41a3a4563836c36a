/**
 * The cell that this host belongs to, kept on its own disk (`cell.json`). The first cell that it joins pins it; from then on no other
 * cell is served, whatever the configuration, a name server or a restored store says: to another cell this host's VMs are strangers.
 */
import { mkdir, readdir, readFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { z } from 'zod';
import { noneIfAbsent } from '#base/noneIfAbsent.ts';
import { writeAtomically } from '#base/writeAtomically.ts';
import { PandoError } from '#contracts/errors.ts';
import { parseIdentity } from '#contracts/identity.ts';
import { cellNumberOf, isId } from '#contracts/ids.ts';

const pinShape = z.object({
  cellId: z.string(),
  /** Absent until a processor has told it: those of the last release do not. */
  region: z.string().optional(),
  cellNumber: z.number().int().optional(),
  /** Of the move that brought it there; absent: it was moved never, which is generation 1. */
  generation: z.number().int().optional(),
});
export type Pin = z.infer<typeof pinShape>;

/** The cell in an identity of three parts, `spiffe://pando/cell/<cell>/<name>`; undefined in one of two. */
export const cellOfIdentity = (identity: string): string | undefined => {
  const parsed = parseIdentity(identity);
  return parsed?.former === false ? parsed.cell : undefined;
};

export class CellPin {
  readonly #path: string;
  #pin: Pin | undefined;
  /** Answers of several processors are looked at one after another: the first one pins. */
  #last: Promise<unknown> = Promise.resolve();

  private constructor(path: string, pin: Pin | undefined) {
    this.#path = path;
    this.#pin = pin;
  }

  /** @throws when there is a pin that cannot be read: then it is not known whose host this is. VMs run on meanwhile. */
  static async open(stateDir: string): Promise<CellPin> {
    await mkdir(stateDir, { recursive: true, mode: 0o711 });
    const path = join(stateDir, 'cell.json');
    const text = await readFile(path, 'utf8').catch(noneIfAbsent(undefined));
    if (text === undefined) return new CellPin(path, undefined);
    try {
      return new CellPin(path, pinShape.parse(JSON.parse(text)));
    } catch (cause) {
      throw new Error(
        `${path} cannot be read: it says to which cell this host belongs. Write {"cellId":"…"} there to serve that cell.`,
        { cause },
      );
    }
  }

  /** Whose host this is; undefined before it has joined any cell. */
  get current(): Pin | undefined {
    return this.#pin;
  }

  /** Takes a cell's answer. @throws Conflict when it is not the cell of this host. */
  accept(peer: string, answer: Pin): Promise<void> {
    const turn = this.#last.then(() => this.#accept(peer, answer));
    this.#last = turn.catch(() => undefined);
    return turn;
  }

  /** @throws AccessDenied for an id that names another cell (S3.4). */
  checkInstance(instanceId: string): void {
    const number = this.#pin?.cellNumber;
    if (number === undefined || cellNumberOf(instanceId) === number) return;
    throw new PandoError(
      'AccessDenied',
      `${instanceId} is of cell ${cellNumberOf(instanceId)}; this host is of ${number}.`,
    );
  }

  /** @throws AccessDenied for a processor of a cell that this host was moved away from */
  checkPeer(peer: string): void {
    const certified = cellOfIdentity(peer);
    if (certified === undefined || this.#pin === undefined || certified === this.#pin.cellId) return;
    throw new PandoError('AccessDenied', `${peer} commands this host no more: it is of ${name(this.#pin)}.`);
  }

  /**
   * Changes the pin by the present cell's word. `isEmpty` is asked in turn with answers of cells, and nothing is served until the pin is
   * on disk. @throws IncorrectState, StaleEpoch
   */
  rehome(to: Omit<Pin, 'generation'>, generation: number, isEmpty: () => boolean): Promise<void> {
    const turn = this.#last.then(() => this.#rehome(to, generation, isEmpty));
    this.#last = turn.catch(() => undefined);
    return turn;
  }

  async #rehome(to: Omit<Pin, 'generation'>, generation: number, isEmpty: () => boolean): Promise<void> {
    const before = this.#pin;
    if (before?.generation === generation && agree(before, to)) return;
    if (generation <= generationOf(before))
      throw new PandoError(
        'StaleEpoch',
        `This host was moved under generation ${generationOf(before)} already.`,
      );
    if (!isEmpty())
      throw new PandoError('IncorrectState', 'This host has VMs: they would be strangers to another cell.');
    const pin: Pin = { ...definedOf(to), generation };
    // In memory first: what comes from the former cell while the disk is written is refused.
    this.#pin = pin;
    try {
      await writeAtomically(this.#path, JSON.stringify(pin));
    } catch (error) {
      this.#pin = before;
      throw error;
    }
  }

  async #accept(peer: string, answer: Pin): Promise<void> {
    const certified = cellOfIdentity(peer);
    if (certified !== undefined && certified !== answer.cellId)
      throw new PandoError('Conflict', `${peer} says that it is of cell ${answer.cellId}.`);
    const before = this.#pin;
    if (before !== undefined && !agree(before, answer))
      throw new PandoError(
        'Conflict',
        `This host belongs to ${name(before)}, not to ${name(answer)}. To move it: pando host rehome.`,
      );
    if (before === undefined) await this.#assertNoStrangers(answer);
    const pin: Pin = { ...before, ...definedOf(answer) };
    if (JSON.stringify(pin) === JSON.stringify(before)) return;
    // On disk before the first command of that cell is served.
    await writeAtomically(this.#path, JSON.stringify(pin));
    this.#pin = pin;
  }

  /** A pin that was lost, and not the VMs: their ids still name the cell whose host this is (S3.4). */
  async #assertNoStrangers(answer: Pin): Promise<void> {
    const { cellNumber } = answer;
    if (cellNumber === undefined) return;
    const names = await readdir(join(dirname(this.#path), 'vms')).catch(noneIfAbsent([]));
    const stranger = names.find((id) => isId('instance', id) && cellNumberOf(id) !== cellNumber);
    if (stranger !== undefined)
      throw new PandoError(
        'Conflict',
        `${this.#path} is lost, and this host has ${stranger} of cell number ${cellNumberOf(stranger)}: it does not belong to ${name(answer)}.`,
      );
  }
}

export const generationOf = (pin: Pin | undefined): number => pin?.generation ?? 1;

const name = ({ cellId, region }: Pin): string => (region === undefined ? cellId : `${cellId} of ${region}`);

/** What one of the two does not know cannot differ. */
const agree = (one: Pin, other: Pin): boolean =>
  one.cellId === other.cellId &&
  (one.region === undefined || other.region === undefined || one.region === other.region) &&
  (one.cellNumber === undefined || other.cellNumber === undefined || one.cellNumber === other.cellNumber);

const definedOf = ({ cellId, region, cellNumber }: Pin): Pin => ({
  cellId,
  ...(region === undefined ? {} : { region }),
  ...(cellNumber === undefined ? {} : { cellNumber }),
});
