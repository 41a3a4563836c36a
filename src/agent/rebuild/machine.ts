/** What the machine says of itself: versions of its firmware, error counters, swap, pages set aside. */
import { readdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';

const textAt = async (path: string): Promise<string | undefined> => {
  const text = (await readFile(path, 'utf8').catch(() => '')).trim();
  return text === '' ? undefined : text;
};

const entries = (path: string): Promise<string[]> => readdir(path).catch(() => []);

/** Under `/sys` and `/proc`, or where a test has put their like. */
export class Machine {
  readonly #root: string;

  constructor(root = '/') {
    this.#root = root;
  }

  #at(path: string): string {
    return join(this.#root, path);
  }

  /** By component: those that this machine names. */
  async firmware(): Promise<Record<string, string>> {
    const found: Record<string, string> = {};
    const note = async (component: string, path: string): Promise<void> => {
      const version = await textAt(this.#at(path));
      if (version !== undefined) found[component] = version.slice(0, 128);
    };
    await note('bios', 'sys/class/dmi/id/bios_version');
    await note('ec', 'sys/class/dmi/id/ec_firmware_release');
    await note('microcode', 'sys/devices/system/cpu/cpu0/microcode/version');
    for (const name of (await entries(this.#at('sys/class/nvme'))).slice(0, 16))
      await note(name, `sys/class/nvme/${name}/firmware_rev`);
    return found;
  }

  /** Errors of memory and disks that were counted since the machine booted. */
  async errors(): Promise<number> {
    const controllers = await entries(this.#at('sys/devices/system/edac/mc'));
    const memory = controllers.flatMap((name) =>
      ['ce_count', 'ue_count'].map((counter) => `sys/devices/system/edac/mc/${name}/${counter}`),
    );
    const disks = await entries(this.#at('sys/block'));
    const paths = [...memory, ...disks.map((name) => `sys/block/${name}/device/ioerr_cnt`)];
    const counts = await Promise.all(paths.map(async (path) => Number((await textAt(this.#at(path))) ?? 0)));
    return counts.reduce((sum, count) => sum + (Number.isFinite(count) ? count : 0), 0);
  }

  /** Devices and files that the kernel swaps to, those that are memory themselves left out. */
  async swaps(): Promise<string[]> {
    const text = (await textAt(this.#at('proc/swaps'))) ?? '';
    const names = text
      .split('\n')
      .slice(1)
      .map((line) => line.split(/\s/)[0] ?? '');
    return names.filter((name) => name !== '' && !name.startsWith('/dev/zram'));
  }

  /** Sets pages of 2 MiB aside, and answers how many there are then. */
  async setHugePages(count: number): Promise<number> {
    const path = this.#at('sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages');
    await writeFile(path, String(count));
    return Number((await textAt(path)) ?? 0);
  }
}
