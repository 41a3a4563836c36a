/** What was started, so that it is ended in the other order. */
export class Parts {
  readonly #ends: (() => unknown)[] = [];

  add(end: () => unknown): void {
    this.#ends.push(end);
  }

  /** Ends all, the last first. Repeatable. */
  async end(): Promise<void> {
    for (const end of this.#ends.splice(0).reverse()) await end();
  }
}

/** Where parts listen: any free port of this machine alone. */
export const loopback = { host: '127.0.0.1', port: 0 } as const;
