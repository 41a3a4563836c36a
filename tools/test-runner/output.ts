/** Events of files that run at the same time, in an order that can be read: one file's after the other's. */
import { PassThrough } from 'node:stream';

export interface TestEvent {
  readonly type: string;
  readonly data: unknown;
}

/** The file that has run the longest is shown as it goes; what the others say is kept until then, or until they are over. */
export class Output {
  readonly stream = new PassThrough({ objectMode: true });
  /** What was not shown yet of those that run, in the order of their starts. */
  readonly #running = new Map<string, TestEvent[]>();
  readonly #over: TestEvent[][] = [];
  #shown: string | undefined;

  begin(file: string): void {
    this.#running.set(file, []);
    this.#show();
  }

  say(file: string, event: TestEvent): void {
    if (file === this.#shown) this.stream.write(event);
    else this.#running.get(file)?.push(event);
  }

  end(file: string): void {
    const kept = this.#running.get(file) ?? [];
    this.#running.delete(file);
    if (file === this.#shown) this.#shown = undefined;
    else this.#over.push(kept);
    this.#show();
  }

  #show(): void {
    if (this.#shown !== undefined) return;
    for (const kept of this.#over.splice(0)) this.#print(kept);
    const [next] = this.#running;
    if (next === undefined) return;
    this.#shown = next[0];
    this.#print(next[1].splice(0));
  }

  #print(events: readonly TestEvent[]): void {
    for (const event of events) this.stream.write(event);
  }
}
