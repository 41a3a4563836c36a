/** What simulated hosts share: who runs where, and the wires that memory is copied over. Watches over I1 at every change. */
import type { SimVm } from './vm.ts';

export class SimWorld {
  /** Hosts on which an instance executes now. */
  readonly #running = new Map<string, Set<string>>();
  readonly #incoming = new Map<string, SimVm>();
  /** Moments at which an instance ran in two places (I1): tests assert that there are none. */
  readonly violations: string[] = [];
  #nextWire = 1;

  setRunning(instanceId: string, hostId: string, running: boolean): void {
    const hosts = this.#running.get(instanceId) ?? new Set<string>();
    if (running) hosts.add(hostId);
    else hosts.delete(hostId);
    if (hosts.size === 0) this.#running.delete(instanceId);
    else this.#running.set(instanceId, hosts);
    if (hosts.size > 1) this.violations.push(`${instanceId} runs on ${[...hosts].join(' and ')}`);
  }

  /** The hosts where an instance executes. */
  runningOn(instanceId: string): readonly string[] {
    return [...(this.#running.get(instanceId) ?? [])];
  }

  /** Opens a wire on which this VM waits for its memory. */
  listen(vm: SimVm): { readonly memoryUri: string; readonly diskUri: string } {
    const wire = this.#nextWire++;
    this.#incoming.set(`sim:${wire}`, vm);
    return { memoryUri: `sim:${wire}`, diskUri: `sim-disk:${wire}` };
  }

  /** The VM that waits at the other end. */
  dial(memoryUri: string): SimVm | undefined {
    return this.#incoming.get(memoryUri);
  }

  hangUp(vm: SimVm): void {
    for (const [uri, listening] of this.#incoming) if (listening === vm) this.#incoming.delete(uri);
  }
}
