/** What hosts obey, seen from outside of them: no command of a life of an instance that was over when it came, whatever a host's own fences say. */
import type { Handlers } from '#base/rpc/contract.ts';
import { PandoError } from '#contracts/errors.ts';
import type { CommandKey, hostContract } from '#contracts/host.ts';

type HostHandlers = Handlers<typeof hostContract>;
type AnyHandler = (params: Commanded, context: unknown) => unknown;
interface Commanded {
  readonly instanceId?: string;
  readonly command?: CommandKey;
}

export class Obedience {
  /** By host and instance: the highest generation of which a command was let in. */
  readonly #newest = new Map<string, number>();
  readonly violations: string[] = [];

  /** A host carries the VM commands of an instance out one after the other, so they end in the order in which they were let in. */
  watch(hostId: string, handlers: HostHandlers): HostHandlers {
    const watched = Object.entries(handlers).map(([method, handler]) => [
      method,
      method.startsWith('vm.') ? this.#watched(hostId, method, handler as AnyHandler) : handler,
    ]);
    return Object.fromEntries(watched) as HostHandlers;
  }

  #watched(hostId: string, method: string, handler: AnyHandler): AnyHandler {
    return async (params, context) => {
      const note = (): void => {
        if (params.command?.generation !== undefined && params.instanceId !== undefined)
          this.#note(`${params.instanceId} on ${hostId}`, method, params.command.generation);
      };
      try {
        const result = await handler(params, context);
        note();
        return result;
      } catch (error) {
        // What failed otherwise was let in.
        if (PandoError.from(error).code !== 'StaleEpoch') note();
        throw error;
      }
    };
  }

  #note(where: string, method: string, generation: number): void {
    const newest = this.#newest.get(where) ?? 0;
    if (generation < newest)
      this.violations.push(`${method} of generation ${generation} was obeyed for ${where} after ${newest}`);
    else this.#newest.set(where, generation);
  }
}
