/**
 * The underlay shut off while a host is rebuilt. Rules of the card's own namespace, where the tunnels of all VPCs end: they say nothing of
 * VPCs and ports, which stay as they are, and nobody who declares one opens them. ARP too: an address that nobody answers for.
 */
import { rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { exec } from '#base/exec.ts';
import { writeAtomically } from '#base/writeAtomically.ts';

const table = 'pando_isolation';

/** Both tables. Pure. */
export const isolationRules = (device: string): string =>
  (['inet', 'arp'] as const)
    .map((family) => {
      const forward =
        family === 'arp'
          ? ''
          : `  chain through {
    type filter hook forward priority -300; policy accept;
    iifname "${device}" drop
    oifname "${device}" drop
  }
`;
      return `table ${family} ${table}
delete table ${family} ${table}
table ${family} ${table} {
  chain in {
    type filter hook input priority -300; policy accept;
    iifname "${device}" drop
  }
  chain out {
    type filter hook output priority -300; policy accept;
    oifname "${device}" drop
  }
${forward}}
`;
    })
    .join('');

const removal = (['inet', 'arp'] as const)
  .map((family) => `table ${family} ${table}\ndelete table ${family} ${table}\n`)
  .join('');

export class Isolation {
  readonly #mark: string;
  readonly #device: string;

  constructor(stateDir: string, device: string) {
    this.#mark = join(stateDir, 'isolated');
    this.#device = device;
  }

  /** At the start, before the first port is taken up again: shut if it was shut, whatever the kernel has forgotten. */
  async adopt(): Promise<void> {
    if ((await stat(this.#mark).catch(() => undefined)) !== undefined) await this.#rules(true);
  }

  /** What the kernel says. */
  async isOn(): Promise<boolean> {
    for (const family of ['inet', 'arp']) {
      const { exitCode, stdout } = await exec('nft', ['list', 'table', family, table], { allow: [1] });
      if (exitCode !== 0 || !stdout.includes(`iifname "${this.#device}" drop`)) return false;
    }
    return true;
  }

  /** The mark first when it is shut, last when it is opened: a card that dies in between comes back shut. */
  async set(on: boolean): Promise<boolean> {
    if (on) await writeAtomically(this.#mark, '');
    await this.#rules(on);
    if (!on) await rm(this.#mark, { force: true });
    return this.isOn();
  }

  async #rules(on: boolean): Promise<void> {
    await exec('nft', ['-f', '-'], { input: on ? isolationRules(this.#device) : removal });
  }
}
