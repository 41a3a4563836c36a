/**
 * The installation's settings of a device's own network namespace (S8): its underlay device, permanent neighbours, ranges that lead nowhere,
 * ports that are closed. Kernel state that this class alone owns: a table, a routing protocol number, permanent neighbours.
 */
import { mkdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { z } from 'zod';
import { writeWhole } from '#base/writeAtomically.ts';
import type { FleetBody } from '#contracts/network-objects.ts';
import { runHere } from './kernel/namespace.ts';
import { word } from './model/safe.ts';
import { routeProtocol, underlayDiff, underlayLines, underlayTable } from './model/underlay.ts';

const original = z.object({ mtu: z.number().int() });

export class Underlay {
  readonly #device: string;
  readonly #path: string;
  readonly #directory: string;
  /** What the tools show right after the last change; undefined: nothing was changed by this process. */
  #shown: string | undefined;
  #isOurs = false;

  constructor(device: string, stateDir: string) {
    this.#device = word(device);
    this.#directory = stateDir;
    this.#path = join(stateDir, 'underlay.json');
  }

  /** Makes the namespace what the settings say. Where there never were any, nothing is touched. */
  async settle({ underlay }: FleetBody): Promise<void> {
    if (underlay === undefined && !this.#isOurs && (await this.#original()) === undefined) return;
    const { mtu } = (await this.#original()) ?? (await this.#keepOriginal());
    this.#isOurs = true;
    await runHere(`${underlayLines(this.#device, underlay ?? {}, mtu).join('\n')}\n`);
    this.#shown = await this.#show();
  }

  /** What somebody else has changed since; undefined: nothing. */
  async drift(): Promise<string | undefined> {
    if (this.#shown === undefined) return undefined;
    const now = (await this.#show()).split('\n');
    const before = this.#shown.split('\n');
    const changed = now.find((line) => !before.includes(line)) ?? before.find((line) => !now.includes(line));
    return changed && `underlay: ${changed.trim()}`;
  }

  /** What other settings would change, in the words of the kernel's tools. */
  async preview(before: FleetBody, after: FleetBody): Promise<string[]> {
    const mtu = (await this.#original())?.mtu ?? Number(await runHere(`${this.#showMtu}\n`));
    return underlayDiff(this.#device, mtu, before, after);
  }

  /** Not by /sys, which is of the namespace of who mounted it. */
  get #showMtu(): string {
    return `ip -o link show dev ${this.#device} | sed -n 's/.* mtu \\([0-9]*\\) .*/\\1/p'`;
  }

  #show(): Promise<string> {
    return runHere(`nft -s list table ${underlayTable} 2>/dev/null || true
${this.#showMtu}
ip neigh show dev ${this.#device} nud permanent
ip route show table all proto ${routeProtocol}
`);
  }

  async #original(): Promise<z.infer<typeof original> | undefined> {
    const text = await readFile(this.#path, 'utf8').catch(() => undefined);
    return text === undefined ? undefined : original.parse(JSON.parse(text));
  }

  async #keepOriginal(): Promise<z.infer<typeof original>> {
    const mtu = Number(await runHere(`${this.#showMtu}\n`));
    await mkdir(this.#directory, { recursive: true });
    await writeWhole(this.#path, JSON.stringify({ mtu }));
    return { mtu };
  }
}
