/** Copies the flows that the source's card tracks to the target's, each once, so that connections live on there. */
import type { TrackedFlow } from '#contracts/network.ts';
import type { CardCallOptions, HostSessions } from '../hosts/sessions.ts';

export class FlowCopy {
  readonly #copied = new Set<string>();

  /** Again: only those that have come since. */
  async copy(
    hosts: HostSessions,
    { from, to, eniId }: { readonly from: string; readonly to: string; readonly eniId: string },
    options: CardCallOptions,
  ): Promise<void> {
    const { flows } = await hosts.card(from, 'card.exportFlows', { eniId }, options);
    const fresh = flows.filter((flow) => !this.#copied.has(keyOf(flow)));
    if (fresh.length === 0) return;
    await hosts.card(to, 'card.importFlows', { eniId, flows: fresh }, options);
    for (const flow of fresh) this.#copied.add(keyOf(flow));
  }
}

const keyOf = ({ protocol, src, sport, dst, dport }: TrackedFlow): string =>
  [protocol, src, sport, dst, dport].join(' ');
